use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// A name server: `10-0-0-1.example` has the address 10.0.0.1.
async fn names() -> Resolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            let Some(answer) = answer(&query[..length]) else { continue };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    Resolver::server(address).unwrap()
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let label = query.get(13..13 + usize::from(*query.get(12)?))?;
    let end = 12 + query.get(12..)?.iter().position(|octet| *octet == 0)? + 5;
    let address: Ipv4Addr = std::str::from_utf8(label).ok()?.replace('-', ".").parse().ok()?;
    let is_wanted = query.get(end - 4..end - 2)? == [0, 1];
    let mut answer = query.get(..end)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_wanted), 0, 0, 0, 0]);
    if is_wanted {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// A web server of the loopback that leads elsewhere.
async fn leading(to: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let to = to.replace("PORT", &port.to_string());
            let head =
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    port
}

async fn validator(change: impl FnOnce(&mut ValidatorConfig)) -> NetworkValidator {
    let mut config = ValidatorConfig { attempts: 1, ..ValidatorConfig::default() };
    change(&mut config);
    NetworkValidator::new(names().await, config).unwrap()
}

async fn refused(validator: &NetworkValidator, kind: ChallengeKind, name: &str) -> Problem {
    let challenge = Validation::new(kind, Identifier::dns(name).unwrap(), "t".into(), "t.k".into());
    validator.validate(&challenge).await.unwrap_err()
}

#[tokio::test]
async fn addresses_inside_are_not_looked_at_and_not_told() {
    let usual = validator(|_| {}).await;
    for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        for name in ["10-0-0-1.example", "169-254-169-254.example", "127-0-0-1.example"] {
            let problem = refused(&usual, kind.clone(), name).await;
            assert_eq!(problem.kind, ProblemType::Connection, "{problem:?}");
            assert_eq!(problem.detail, format!("{name} has no public address, and others are not looked at here"));
        }
    }
}

#[tokio::test]
async fn redirects_lead_to_nothing_inside_either() {
    let port = leading("http://10-0-0-1.example/admin").await;
    let validator = validator(|config| config.http01_port = port).await;
    // At such a port it is a laboratory, which has the loopback.
    for name in ["127-0-0-1.example", "a.localhost"] {
        let problem = refused(&validator, ChallengeKind::Http01, name).await;
        assert!(problem.detail.starts_with("10-0-0-1.example has no public address"), "{problem:?}");
    }
    // From outside not even the loopback of a laboratory can be reached.
    for name in ["127-0-0-1.example", "a.localhost"] {
        assert!(validator.connect(name, port, true).await.is_ok());
        let problem = validator.connect(name, port, false).await.unwrap_err();
        assert!(problem.detail.contains("no public address"), "{problem:?}");
    }
}

#[tokio::test]
async fn private_networks_are_looked_at_when_that_is_wanted() {
    let port = leading("http://127-0-0-1.example:PORT/").await;
    let validator = validator(|config| (config.http01_port, config.reach) = (port, Reach::Any)).await;
    let problem = refused(&validator, ChallengeKind::Http01, "127-0-0-1.example").await;
    assert!(problem.detail.contains("led elsewhere more than 5 times"), "{problem:?}");
    assert!(validator.connect("127-0-0-1.example", port, false).await.is_ok());
}
