"""Envoy with one worker thread."""

import json

from loadtest.configurations.setting import ADDRESSES, Command, Setting, in_wheel, version
from loadtest.lane import HOST

_ENVOY_LOG = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "remote_addr": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "remote_port": "%DOWNSTREAM_REMOTE_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "uri": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "bytes_sent": "%BYTES_SENT%",
    "request_length": "%BYTES_RECEIVED%",
    "request_time": "%DURATION%",
    "referer": "%REQ(REFERER)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_addr": "%UPSTREAM_HOST%",
    "upstream_time": "%RESPONSE_DURATION%",
    "route": "%ROUTE_NAME%",
    "flags": "%RESPONSE_FLAGS%",
}


def _type(name: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}


def _secured(setting: Setting) -> dict[str, object]:
    """The transport socket of the HTTPS listener."""
    pair = {
        "certificate_chain": {"filename": str(setting.chain_file)},
        "private_key": {"filename": str(setting.key_file)},
    }
    common = {
        "tls_certificates": [pair],
        "alpn_protocols": ["http/1.1"],
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": ["X25519", "P-256", "P-384"],
        },
    }
    context = _type("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
    return {"name": "tls", "typed_config": context}


def _listener(setting: Setting, *, secure: bool) -> dict[str, object]:
    port = setting.https_port if secure else setting.port
    added = {
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-Port": str(port),
        "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    manager = _type(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        codec_type="HTTP1",
        use_remote_address=True,  # X-Forwarded-For and -Proto
        generate_request_id=True,
        server_header_transformation="PASS_THROUGH",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=[
            {
                "name": "file",
                "typed_config": _type(
                    "access_loggers.file.v3.FileAccessLog",
                    path=str(setting.log),
                    log_format={"json_format": _ENVOY_LOG},
                ),
            }
        ],
        http_filters=[{"name": "router", "typed_config": _type("filters.http.router.v3.Router")}],
        route_config={
            "virtual_hosts": [
                {
                    "name": "bench",
                    "domains": [HOST],
                    "request_headers_to_add": [
                        {
                            "header": {"key": key, "value": value},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                        for key, value in added.items()
                    ],
                    "routes": [
                        {
                            "name": "all",
                            "match": {"prefix": "/"},
                            "route": {"cluster": "app", "timeout": "0s"},
                        }
                    ],
                }
            ]
        },
    )
    chain: dict[str, object] = {"filters": [{"name": "http", "typed_config": manager}]}
    if secure:
        chain["transport_socket"] = _secured(setting)
    return {
        "address": _address("127.0.0.1", port),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    }


def envoy(setting: Setting) -> Command:
    """Envoy with one worker thread; its statistics are always on."""
    binary = in_wheel("envoy", "_bin/envoy", "envoy")
    endpoints = [
        {"endpoint": {"address": _address(address, setting.backend_port)}} for address in ADDRESSES
    ]
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    setting.write_pem()
    configuration = setting.folder / "envoy.json"
    configuration.write_text(
        json.dumps(
            {
                "admin": {"address": _address("127.0.0.1", setting.admin_port)},
                "static_resources": {
                    "listeners": [
                        _listener(setting, secure=False),
                        _listener(setting, secure=True),
                    ],
                    "clusters": [cluster],
                },
            },
            indent=1,
        )
    )
    return Command(
        version=version([str(binary), "--version"]),
        argv=[
            str(binary),
            *("-c", str(configuration)),
            *("--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
        ],
    )
