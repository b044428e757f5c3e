"""Validation of webhook URLs."""

from ipaddress import ip_address

import pytest

from service.core.addresses import check_address, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b:1::1",
        "192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16",
        "2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_private_and_reserved_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
)
def test_global_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/", "https://"),
        ("javascript:alert(1)", "https://"),
        ("//example.org", "https://"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("https://user:secret@example.org/", "user name or password"),
        ("https://example.org:0/", "port 0"),
        ("https://example.org:99999/", "[Pp]ort"),
        ("https://example.org/\r\nHost: evil", "characters"),
        ("https://exämple.org/", "characters"),
        ("https://example.org\\@evil.org/", "characters"),
        ("https://[::1/", "invalid host"),
    ],
)
def test_invalid_webhook_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_address(url)


def test_valid_url_is_returned_unchanged() -> None:
    for url in ("https://example.org", "https://example.org:8443/hook?key=1", "http://127.0.0.1:9/"):
        assert check_address(url) == url


@pytest.mark.parametrize(
    "host",
    [
        "1.2.3.256", "999.999.999.999", "a.0x", "a" * 64 + ".example", "b." * 130 + "example", "xn--",
        "xn--a.example", "ex%00ample.invalid", "-a.example", "a-.example", "a..b", ".a", ".", "[v1.x]",
        "[::1%25eth0]", "[::g]", "a!b",
    ],
)  # fmt: skip
def test_hosts_that_cannot_exist_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|does not appear to be"):
        check_address(f"https://{host}/hook")


@pytest.mark.parametrize(
    "host",
    [
        "a_b.example",
        "example.org.",
        "xn--bcher-kva.example",
        "1.2.3.4",
        "0x7f.1",
        "[2606:4700::1111]:8443",
        "A.b-c",
    ],
)
def test_other_hosts_are_kept(host: str) -> None:
    assert check_address(f"https://{host}/hook?a=b") == f"https://{host}/hook?a=b"
