//! The OmniBroker's services and commands, on top of the library crates.

pub mod accounts;
pub mod ask;
pub mod audit;
pub mod binding;
pub mod broker;
pub mod codec;
pub mod directory;
pub mod keys;
pub mod members;
pub mod remember;
pub mod services;
pub mod shared;
pub mod stub;

use crate::cli::{AccountCommand, ObpCommand};
use crate::exit::Failure;
use crate::out;
use directory::Directory;

/// `obp account`
///
/// # Errors
/// When the file or the database cannot be read or written, or there is no such account.
pub async fn account(command: &AccountCommand, json: bool) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    let place = match command {
        AccountCommand::Add(args) => &args.account.file,
        AccountCommand::Remove(args) => &args.file,
        AccountCommand::List(args) => args,
    };
    let accounts = Directory::open(&place.accounts, place.accounts_password_file.as_deref()).await?;
    match command {
        AccountCommand::Add(args) => {
            let name = &args.account.account;
            if !args.pin {
                accounts.add(name, None, now).await?;
                return said(json, &serde_json::json!({ "account": name }), &format!("account {name} is there"));
            }
            let pin = accounts::new_pin()?;
            let expires = now.checked_add(args.pin_lifetime.0).map_err(|error| Failure::usage(error.to_string()))?;
            accounts.add(name, Some((&pin, expires)), now).await?;
            // The object's members in the order of the contract.
            let text = |text: &str| serde_json::Value::from(text);
            match json {
                true => out::line(&format!("{{\"account\":{},\"pin\":{}}}", text(name), text(&pin))),
                false => out::line(&pin),
            }
        }
        AccountCommand::Remove(args) => {
            accounts.remove(&args.account).await?;
            said(json, &serde_json::json!({ "account": args.account }), &format!("{} is gone", args.account))
        }
        AccountCommand::List(_) => {
            for one in accounts.list(now).await? {
                let object = serde_json::json!({ "account": one.name, "pins": one.pins });
                said(json, &object, &format!("{}\t{} PIN(s)", one.name, one.pins))?;
            }
            Ok(())
        }
    }
}

fn said(json: bool, object: &serde_json::Value, text: &str) -> Result<(), Failure> {
    out::line(&if json { object.to_string() } else { text.to_owned() })
}

/// Runs one of the commands that are no service.
///
/// # Errors
/// As the command says.
pub async fn run(command: ObpCommand, json: bool) -> Result<(), Failure> {
    match command {
        ObpCommand::Bind(args) => binding::run(&args, json).await,
        ObpCommand::Refresh(args) => binding::refresh(&args, json).await,
        ObpCommand::Unbind(args) => binding::unbind(&args, json).await,
        ObpCommand::Connect(args) => ask::connect(&args, json).await,
        ObpCommand::Validate(args) => ask::validate(&args, json).await,
        ObpCommand::Account(command) => account(&command, json).await,
        ObpCommand::Codec(command) => codec::run(&command),
        ObpCommand::Broker(_) | ObpCommand::Dns(_) => Err(Failure::usage("a service is no single command")),
    }
}
