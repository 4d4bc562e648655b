"""From settings classes to flags, variables and values."""

import argparse

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.flags import (
    UsageError,
    flags_of,
    parse_duration,
    parse_size,
    read,
    show,
)
from ingress_controller.settings import (
    TOPICS,
    Settings,
    options_of,
    run_flags,
    run_settings,
    unknown_variables,
)
from ingress_controller.sources.cluster import MAX_WATCHES
from ingress_controller.translate.options import Options as TranslationOptions
from router.model.limits import Limits


def settings(*words: str, **variables: str) -> Settings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    run_flags(parser)
    return run_settings(parser.parse_args(words), variables)


def test_defaults_are_those_of_the_classes() -> None:
    assert settings() == Settings()


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    assert settings(INGRESS_HTTP_PORT="81").serving.http_port == 81
    assert settings("--http-port", "82", INGRESS_HTTP_PORT="81").serving.http_port == 82


def test_repeated_flags_and_lists_are_one_tuple_without_the_default() -> None:
    given_twice = settings("--ingress-class", "a,b", "--ingress-class", "c").translation
    assert given_twice.ingress_class == ("a", "b", "c")
    assert settings(INGRESS_INGRESS_CLASS="a,b").translation.ingress_class == ("a", "b")


def test_namespaces_are_as_many_as_there_are_connections_for() -> None:
    words = [word for n in range(200) for word in ("--watch-namespace", f"n{n}")]
    scope = settings(*words).cluster.watch_namespace
    # Four kinds in each, IngressClass, and room for objects that are watched alone.
    assert 4 * len(scope) + 1 + 100 < MAX_WATCHES
    with pytest.raises(UsageError, match="names 201 namespaces"):
        settings(*words, "--watch-namespace", "one-more")


def test_a_folder_may_contain_a_comma() -> None:
    assert settings("--manifests", "a,b").serving.manifests == ("a,b",)
    assert settings(INGRESS_MANIFESTS="a,b:c").serving.manifests == ("a,b", "c")


def test_switches_have_a_negative_form_and_words_in_the_environment() -> None:
    variables = {"INGRESS_ALLOW_EXTERNAL_NAME": "yes"}
    assert settings(**variables).translation.allow_external_name
    assert not settings("--no-allow-external-name", **variables).translation.allow_external_name


def test_https_is_served_unless_its_port_is_off() -> None:
    assert settings().serving.https_port == 8443
    assert settings("--https-port", "0").serving.https_port == 0
    assert settings(INGRESS_HTTPS_PORT="off").serving.https_port is None
    assert settings(INGRESS_HTTPS_PORT="tcp://10.0.0.1:443").serving.https_port == 8443


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], ""),
        (["--hsts-preload"], ""),
        (["--hsts"], "max-age=31536000; includeSubDomains"),
        (["--hsts", "--hsts-preload"], "max-age=31536000; includeSubDomains; preload"),
        (["--hsts", "--no-hsts-include-subdomains", "--hsts-max-age", "1d"], "max-age=86400"),
        (["--hsts", "--hsts-max-age", "0"], "max-age=0; includeSubDomains"),
    ],
)
def test_hsts_is_off_and_has_the_values_of_ingress_nginx_when_on(
    words: list[str], value: str
) -> None:
    assert options(*words).hsts == value


def options(*words: str, https_port: int | None = 8443) -> TranslationOptions:
    given = settings(*words)
    return options_of(
        given.translation,
        given.https,
        http_port=8080,
        https_port=https_port,
        default_certificate=None,
    )


def test_clients_use_the_published_ports_where_they_differ_from_the_bound_ones() -> None:
    bound = options()
    assert (bound.http_port, bound.https_port, bound.https) == (8080, 8443, True)
    published = options("--published-http-port", "80", "--published-https-port", "443")
    assert (published.http_port, published.https_port) == (80, 443)
    assert not options(https_port=None).https


def test_what_hosts_with_tls_are_told_reaches_the_translation() -> None:
    given = options("--no-ssl-redirect", "--tls-profile", "modern", "--default-tls-secret", "a/tls")
    assert not given.ssl_redirect
    assert given.tls_profile == "modern"
    assert given.default_tls_secret == "a/tls"


def test_a_service_link_is_nobodys_setting() -> None:
    """For a Service named ingress-http the kubelet sets this variable in each pod beside it."""
    assert settings(INGRESS_HTTP_PORT="tcp://10.0.0.1:80").serving.http_port == 8080


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        (["--http-port", "http"], {}, "--http-port: 'http' is not a port; write a number"),
        (["--http-port", "65536"], {}, "--http-port: '65536' is not a port"),
        ([], {"INGRESS_HTTP_PORT": "x"}, "INGRESS_HTTP_PORT: 'x' is not a port"),
        (["--bind", "localhost"], {}, "--bind: 'localhost' is not an address"),
        (["--trusted-proxies", "10.0.0.1/8"], {}, "has bits behind its prefix; write 10.0.0.0/8"),
        (["--trusted-proxies", "10.0.0.0/8,no"], {}, "--trusted-proxies: 'no' is not a network"),
        (["--max-body-size", "10X"], {}, "--max-body-size: '10X' is not a size"),
        (["--header-timeout", "soon"], {}, "--header-timeout: 'soon' is not a duration"),
        (["--header-timeout", "0"], {}, "--header-timeout: '0' is too small"),
        (["--max-header-fields", "0"], {}, "too small; the least is 1"),
        (["--max-header-size", "999999999G"], {}, "--max-header-size: '999999999G' is too large"),
        (["--workers", "300"], {}, "--workers: '300' is too large; the most is 256"),
        (["--server-header", "a\r\nb"], {}, "cannot stand in an HTTP header"),
        (["--log-format", "xml"], {}, "--log-format: 'xml' is unknown; write json, text or off"),
        ([], {"INGRESS_FORWARDED_HEADER": "maybe"}, "write true or false"),
        (["--http-port", "80", "--admin-port", "80"], {}, "are both 80; choose two different"),
        (
            ["--https-port", "443", "--http-port", "443"],
            {},
            "--http-port and --https-port are both",
        ),
        (["--https-port", "10254"], {}, "--https-port and --admin-port are both 10254"),
        (["--https-port", "no"], {}, "--https-port: 'no' is not a port; write"),
        (["--default-tls-secret", "tls"], {}, "'tls' is not NAMESPACE/NAME; write one such as"),
        (["--default-tls-secret", "a/b/c"], {}, "is not NAMESPACE/NAME"),
        (["--default-tls-secret", "a/B"], {}, "is not NAMESPACE/NAME"),
        (["--tls-profile", "old"], {}, "'old' is unknown; write intermediate or modern"),
        (["--max-header-line", "1M"], {}, "--max-header-line is larger than --max-header-size"),
    ],
)
def test_a_wrong_value_gives_one_sentence_that_names_it(
    words: list[str], variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+$") as caught:
        settings(*words, **variables)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64k", 65536),
        ("10M", 10 << 20),
        ("1GiB", 1 << 30),
        ("5 KB", 5120),
    ],
)
def test_sizes_are_bytes_or_powers_of_1024(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
    ],
)
def test_durations_are_seconds_or_numbers_with_units(text: str, value: float) -> None:
    assert parse_duration(text) == value


@given(st.text(max_size=20))
def test_a_text_is_a_size_or_duration_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0


def test_every_default_can_be_written_behind_its_flag() -> None:
    for _, cls in TOPICS:
        for flag in flags_of(cls):
            if flag.kind != "switch" and show(flag) != "none":
                namespace = argparse.Namespace(
                    **{flag.field: [show(flag)] if flag.repeated else show(flag)}
                )
                assert read(cls, namespace, {}) == cls(), flag.name


def test_every_flag_has_a_text_and_a_name_of_its_own() -> None:
    flags = [flag for _, cls in TOPICS for flag in flags_of(cls)]
    assert all(len(flag.text) > 10 for flag in flags)
    assert len({flag.name for flag in flags}) == len(flags)


def test_limits_reach_the_workers_as_they_are() -> None:
    limits = settings("--max-body-size", "10M", "--drain-accept", "0").limits
    assert limits == Limits(max_body_size=10 << 20, drain_accept=0.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(limits), type=Limits) == limits


def test_an_empty_variable_is_none_where_a_value_cannot_be_empty() -> None:
    environment = {"INGRESS_PUBLISH_SERVICE": "", "INGRESS_HTTP_PORT": " "}
    settings = run_settings(argparse.Namespace(), environment)
    assert settings.publishing.publish_service is None
    assert settings.serving.http_port == 8080


def test_a_misspelt_variable_is_found_and_service_links_are_not() -> None:
    environment = {
        "INGRESS_WORKRS": "2",
        "INGRESS_WORKERS": "2",
        "INGRESS_HTTP_PORT": "8081",
        "INGRESS_WEB_SERVICE_HOST": "10.0.0.1",
        "INGRESS_WEB_SERVICE_PORT_HTTP": "80",
        "INGRESS_WEB_PORT_80_TCP_ADDR": "10.0.0.1",
        "HOME": "/",
    }
    assert unknown_variables(environment) == ("INGRESS_WORKRS",)
