"""Writes the certification requests t2-*, t3-* and der-* and their rows in manifest.json. Keys are thrown away.

Needs python-cryptography. Requests are put together here, octet by octet, because libraries do not write the wrong ones.
"""
import json
import pathlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

here = pathlib.Path(__file__).parent


def tlv(tag, *parts):
    content = b"".join(parts)
    n = len(content)
    length = bytes([n]) if n < 128 else (lambda d: bytes([0x80 | len(d)]) + d)(n.to_bytes((n.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + content


def oid(text):
    arcs = [int(arc) for arc in text.split(".")]
    out = b""
    for arc in [arcs[0] * 40 + arcs[1], *arcs[2:]]:
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.insert(0, arc & 0x7F | 0x80)
        out += bytes(septets)
    return tlv(6, out)


def seq(*parts):
    return tlv(0x30, *parts)


def utf8(text):
    return tlv(12, text.encode())


def dns(name):
    return tlv(0x82, name.encode())


def san(*names):
    return extension("2.5.29.17", seq(*names))


def extension(kind, value, critical=b""):
    return seq(oid(kind), critical, tlv(4, value))


def eku(*kinds):
    return extension("2.5.29.37", seq(*map(oid, kinds)))


def rdn(kind, value):
    return tlv(0x31, seq(oid(kind), value))


def requested(*extensions):
    return seq(oid("1.2.840.113549.1.9.14"), tlv(0x31, seq(*extensions)))


P256, P256K, P384 = ec.SECP256R1(), ec.SECP256K1(), ec.SECP384R1()
SHA = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
EC_SIGNATURE = {256: "1.2.840.10045.4.3.2", 384: "1.2.840.10045.4.3.3"}


def request(key, *attributes, subject=(), bits=256, pss=False, version=b"\x02\x01\x00", tail=None, algorithm=None):
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = seq(version, seq(*subject), spki, *([tlv(0xA0, *attributes)] if tail is None else tail))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        kind, signature = seq(oid("1.3.101.112")), key.sign(info)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        kind, signature = seq(oid(EC_SIGNATURE[bits])), key.sign(info, ec.ECDSA(SHA[bits]))
    elif pss:
        sha = seq(oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")
        mask = seq(oid("1.2.840.113549.1.1.8"), sha)
        parameters = seq(tlv(0xA0, sha), tlv(0xA1, mask), tlv(0xA2, tlv(2, bytes([pss]))))
        kind = seq(oid("1.2.840.113549.1.1.10"), parameters)
        signature = key.sign(info, padding.PSS(padding.MGF1(SHA[256]), pss), SHA[256])
    else:
        kind = seq(oid("1.2.840.113549.1.1.11"), b"\x05\x00")
        signature = key.sign(info, padding.PKCS1v15(), SHA[bits])
    return seq(info, algorithm or kind, tlv(3, b"\0", signature))


p256 = ec.generate_private_key(P256)
rsa2048 = rsa.generate_private_key(65537, 2048)
NAME, T3 = "cache7.cdn.ido.example", "abc.ido.example"
SERVER, OTHER = "1.3.6.1.5.5.7.3.1", "1.3.6.1.4.1.311.44.3.4"
CN = "2.5.4.3"
good = requested(san(dns(NAME)))
good3 = requested(san(dns(T3)), eku(SERVER, OTHER))
cases = []


def case(name, template, place, why, octets):
    (here / f"{name}.der").write_bytes(octets)
    cases.append({"file": f"{name}.der", "template": template, "expect": "reject" if place else "accept", "place": place,
                  "why": why, "bytes": len(octets)})


case("t2-good-ec", "T2", "", "second of two key types", request(p256, good))
case("t2-good-rsa2048", "T2", "", "first of two key types", request(rsa2048, good))
case("t2-rsa3072", "T2", "key", "the modulus is longer than the template says",
     request(rsa.generate_private_key(65537, 3072), good))
case("t2-rsa1024", "T2", "key", "too small for anybody", request(rsa.generate_private_key(65537, 1024), good))
case("t2-key-k256", "T2", "key", "a curve that is not known", request(ec.generate_private_key(P256K), good))
case("t2-key-ed25519", "T2", "key", "EdDSA is not expressible in keyTypes",
     request(ed25519.Ed25519PrivateKey.generate(), good))
case("t2-sig-sha384", "T2", "signatureAlgorithm", "P-256 signed with SHA-384", request(p256, good, bits=384))
case("t2-sig-rsa-sha512", "T2", "signatureAlgorithm", "not the SignatureType of the key",
     request(rsa2048, good, bits=512, algorithm=seq(oid("1.2.840.113549.1.1.13"), b"\x05\x00")))
case("t2-sig-pss", "T2", "signatureAlgorithm", "RSASSA-PSS instead of PKCS #1", request(rsa2048, good, pss=32))
case("t2-name-of-others", "T2", "extensions.subjectAltName.DNS", "refused by the policy for names, and not in the order",
     request(p256, requested(san(dns("www.other.example")))))
case("t2-two-names", "T2", "order", "a name that is not in the order",
     request(p256, requested(san(dns(NAME), dns("cache8.cdn.ido.example")))))
case("t2-name-twice", "T2", "extensions.subjectAltName.DNS", "the same name in other case",
     request(p256, requested(san(dns(NAME), dns(NAME.upper())))))
case("t2-subject", "T2", "subject.commonName", "the template has no subject",
     request(p256, good, subject=[rdn(CN, utf8(NAME))]))
case("t2-san-ip", "T2", "extensions.subjectAltName", "a kind of name that templates do not have",
     request(p256, requested(san(dns(NAME), tlv(0x87, bytes([192, 0, 2, 1]))))))
case("t2-san-uri", "T2", "extensions.subjectAltName.URI.https://a.example/", "not in the template",
     request(p256, requested(san(dns(NAME), tlv(0x86, b"https://a.example/")))))
case("t2-san-trailing-dot", "T2", "extensions.subjectAltName.DNS", "no dot at the end",
     request(p256, requested(san(dns(NAME + ".")))))
case("t2-san-u-label", "T2", "csr.subjectAltName", "names are A-labels",
     request(p256, requested(san(tlv(0x82, "bücher.cdn.ido.example".encode())))))
case("t3-good", "T3", "", "", request(p256, good3))
case("t3-good-cn", "T3", "", "commonName may be there", request(p256, good3, subject=[rdn(CN, utf8(T3))]))
case("t3-good-eku-order", "T3", "", "purposes are a set",
     request(p256, requested(eku(OTHER, SERVER), san(dns(T3)))))
case("t3-cn-other", "T3", "subject.commonName", "a name that does not stand in subjectAltName",
     request(p256, good3, subject=[rdn(CN, utf8("www.other.example"))]))
case("t3-eku-extra", "T3", "extensions.extendedKeyUsage.clientAuth", "a purpose that is not in the template",
     request(p256, requested(san(dns(T3)), eku(SERVER, OTHER, "1.3.6.1.5.5.7.3.2"))))
case("t3-eku-less", "T3", f"extensions.extendedKeyUsage.{OTHER}", "a purpose of the template is not there",
     request(p256, requested(san(dns(T3)), eku(SERVER))))
case("t3-ku", "T3", "extensions.keyUsage.digitalSignature", "an extension that is not in the template",
     request(p256, requested(san(dns(T3)), eku(SERVER, OTHER), extension("2.5.29.15", b"\x03\x02\x07\x80"))))
case("t3-challenge-password", "T3", "attributes.1.2.840.113549.1.9.7", "an attribute that is not extensionRequest",
     request(p256, good3, seq(oid("1.2.840.113549.1.9.7"), tlv(0x31, utf8("secret")))))
case("t3-request-twice", "T3", "attributes.1.2.840.113549.1.9.14", "extensionRequest twice", request(p256, good3, good3))
case("t3-multi-valued", "T3", "subject", "two attributes side by side",
     request(p256, good3, subject=[tlv(0x31, seq(oid(CN), utf8(T3)), seq(oid("2.5.4.5"), utf8("7")))]))
case("t3-serial-number", "T3", "subject.2.5.4.5", "an attribute that templates do not have",
     request(p256, good3, subject=[rdn("2.5.4.5", utf8("7"))]))

good_octets = request(p256, good3)
body = good_octets[4:] if good_octets[1] == 0x82 else good_octets[3:]
case("der-long-length", "T3", "csr", "a length longer than it need be",
     b"\x30\x84" + len(body).to_bytes(4, "big") + body)
case("der-indefinite", "T3", "csr", "an indefinite length", b"\x30\x80" + body + b"\0\0")
case("der-short", "T3", "csr", "the last octet is not there", good_octets[:-1])
case("der-version-1", "T3", "csr.version", "there is no such version", request(p256, good3, version=b"\x02\x01\x01"))
case("der-no-attributes", "T3", "csr.attributes", "the set of attributes must be there", request(p256, tail=[]))
case("der-empty-attributes", "T3", "extensions.subjectAltName", "no names", request(p256))
case("der-critical-false", "T3", "csr.extensions", "a default value that is written",
     request(p256, requested(extension("2.5.29.17", seq(dns(T3)), b"\x01\x01\x00"), eku(SERVER, OTHER))))
case("der-extension-twice", "T3", "csr.subjectAltName", "an extension twice",
     request(p256, requested(san(dns(T3)), san(dns(T3)), eku(SERVER, OTHER))))
case("der-empty-san", "T3", "csr.subjectAltName", "a sequence of no names", request(p256, requested(san(), eku(SERVER, OTHER))))
case("der-bmp-string", "T3", "csr.subject", "a string of a type of long ago",
     request(p256, good3, subject=[rdn(CN, tlv(30, T3.encode("utf-16-be")))]))
case("der-control", "T3", "csr.subject", "a line feed in a name",
     request(p256, good3, subject=[rdn(CN, utf8("abc\n.ido.example"))]))
case("der-nul-in-san", "T3", "csr.subjectAltName", "a name with a zero octet",
     request(p256, requested(san(dns("abc.ido.example\0.other.example")), eku(SERVER, OTHER))))
case("der-ku-padding", "T3", "csr.keyUsage", "named bits with zeros at the end",
     request(p256, requested(san(dns(T3)), eku(SERVER, OTHER), extension("2.5.29.15", b"\x03\x02\x00\x80"))))

manifest = json.loads((here / "manifest.json").read_text())
ours = {row["file"] for row in cases}
manifest["cases"] = [row for row in manifest["cases"] if row["file"] not in ours] + cases
(here / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
print(len(manifest["cases"]))
