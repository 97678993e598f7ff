//! The tour's part about delegation: a CA, a name owner and a delegate; a certificate that rolls twice and is taken back.

use std::path::Path;
use std::time::{Duration, Instant};

use acme_lurk::acme::OrderStatus;
use tokio::task::JoinHandle;

use super::{PATIENCE, Tour, command};
use crate::cli::{Command, LurkCommand};
use crate::exit::{Blame, Failure, file_failure};
use crate::lurk::ca::CaService;
use crate::lurk::ido::IdoService;
use crate::lurk::ndc::{INSTALLED, NdcService};
use crate::lurk::{account, cancel};
use crate::service::Context;

/// The name that is delegated.
const NAME: &str = "cdn.ido.example";

/// What the delegate may ask for.
const TEMPLATE: &str = r#"{
  "keyTypes": [{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1", "SignatureType": "ecdsa-with-SHA256"}],
  "extensions": {"subjectAltName": {"DNS": ["cdn.ido.example"]}, "extendedKeyUsage": ["serverAuth"]}
}"#;

/// Runs the steps. What goes on afterwards is given back.
pub(super) async fn steps(
    tour: &mut Tour,
    dir: &Path,
    context: &Context,
) -> Result<Vec<JoinHandle<Result<(), Failure>>>, Failure> {
    let dir = dir.join("delegation");
    std::fs::create_dir_all(&dir).map_err(|error| file_failure("make the folder", &dir, &error))?;
    let file = |name: &str| dir.join(name).display().to_string();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| file_failure("write", &path, &error))
    };

    let ca = tour.try_step("STAR CA", async {
        let home = file("ca");
        let words =
            ["lurk", "ca", "--listen", "127.0.0.1:0", "--dir", &home, "--min-lifetime", "2", "--trust-identifiers"];
        let Command::Lurk(LurkCommand::Ca(args)) = command(&words)? else { return Err(Failure::usage("not a CA")) };
        let ca = CaService::start(&args, context).await?;
        Ok((format!("{}; its certificates renew themselves, and may live for two seconds", ca.directory()), ca))
    });
    let ca = ca.await?;
    let upstream = ca.directory().to_owned();
    let mut going = vec![tokio::spawn(ca.run(context.clone()))];

    let anchor = file("ca/ca.pem");
    let owner = tour.try_step("name owner", async {
        let delegate = account::read_or_make(&dir.join("delegate.key"))?;
        let thumbprint = delegate.public_key().thumbprint_text();
        write("template.json", TEMPLATE)?;
        let rule = "[[delegation]]\nname = \"cdn\"\ntemplate = \"template.json\"\naccounts = ";
        write("delegations.toml", &format!("{rule}[\"{thumbprint}\"]\n"))?;
        let (rules, home) = (file("delegations.toml"), file("ido"));
        let words = ["lurk", "ido", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--upstream-ca", &anchor];
        let words = [&words[..], &["--delegations", &rules, "--dir", &home]].concat();
        let Command::Lurk(LurkCommand::Ido(args)) = command(&words)? else {
            return Err(Failure::usage("not an owner"));
        };
        let owner = IdoService::start(&args, context).await?;
        Ok((format!("{}; lets the key {thumbprint} have certificates for {NAME}", owner.directory()), owner))
    });
    let owner = owner.await?;
    let (directory, site) = (owner.directory().to_owned(), owner.site().clone());
    going.push(tokio::spawn(owner.run(context.clone())));

    // It ends before the others, and counts for itself.
    let own = Context::new(false, context.shutdown.clone(), context.reload.clone());
    let own = Context { hub: context.hub.clone(), ..own };
    let installed = own.metrics.counter(INSTALLED.0, INSTALLED.1, &[]);
    let delegate = tour.try_step("delegate", async {
        let (trust, key, out) = (file("ido/ca.pem"), file("delegate.key"), file("tls"));
        let words = ["lurk", "ndc", "--ido", &directory, "--ca", &trust, "--account-key", &key, "--name", NAME];
        let Command::Lurk(LurkCommand::Ndc(args)) = command(&[&words[..], &["--out", &out]].concat())? else {
            return Err(Failure::usage("not a delegate"));
        };
        let delegate = tokio::spawn(NdcService::start(&args, &own).await?.run(own.clone()));
        reach("the first certificate", || installed.value() >= 1).await?;
        Ok((format!("has a certificate for {NAME} and a key of its own in {out}"), delegate))
    });
    let delegate = delegate.await?;

    let rolled = tour.try_step("rolled twice", async {
        reach("the third certificate", || installed.value() >= 3).await?;
        Ok((
            format!("{} certificates of one order were installed, each before the last ran out", installed.value()),
            (),
        ))
    });
    rolled.await?;

    let stopped = tour.try_step("taken back", async {
        let upstream_order = site.with(|ido| ido.orders().find_map(|order| order.upstream));
        let order = upstream_order.ok_or_else(|| Failure::misbehaved("the owner has no order"))?;
        let key = file("ido/account.key");
        let words = ["lurk", "cancel", "--order", &order, "--directory", &upstream, "--account-key", &key];
        let Command::Lurk(LurkCommand::Cancel(args)) = command(&[&words[..], &["--ca", &anchor]].concat())? else {
            return Err(Failure::usage("not the end"));
        };
        if cancel::order(&args).await?.status != OrderStatus::Canceled {
            return Err(Failure::misbehaved("the order goes on"));
        }
        let ended = tokio::time::timeout(PATIENCE, delegate).await;
        match ended.map_err(|_| Failure::unreachable("the delegate has not noticed"))? {
            Ok(Err(failure)) if failure.blame() == Blame::PeerRefused => Ok((failure.to_string(), ())),
            other => Err(Failure::misbehaved(format!("the delegate ended with {other:?}"))),
        }
    });
    stopped.await?;
    Ok(going)
}

/// Waits for something that takes a moment.
async fn reach(what: &str, condition: impl Fn() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            return Err(Failure::unreachable(format!("{what} has not come")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
