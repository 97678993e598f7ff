//! From the command line to the exit code.

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, ConfigCommand, DotsCommand, IapCommand, LurkCommand, ObpCommand, ReputeCommand};
use crate::config::{self, Config, Service, ServiceArgs};
use crate::exit::{Failure, clap_exit};
use crate::{alerts, dots, logging, lurk, manual, obp, out, pki, quickstart, repute, supervisor};

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return clap_exit(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let json = cli.global.json;
    let log_format = cli.global.log_format;
    match cli.command {
        Command::Completions(args) => manual::completions(args.shell),
        Command::Man(args) => manual::pages(&args.dir),
        Command::Pki(command) => pki::run(&command, json),
        Command::Config(ConfigCommand::Check(args)) => check(&args.file, json),
        Command::Run(args) => {
            let config = config::load_or_fail(&args.config)?;
            logging::init(config.log_format.filter(|_| log_format == Default::default()).unwrap_or(log_format))?;
            wait(supervisor::run(config, Some(args.config), json))
        }
        Command::Iap(IapCommand::Alerts(args)) => {
            logging::init(log_format)?;
            wait(alerts::run(&args, json))
        }
        Command::Iap(IapCommand::Manager(args)) => one(ServiceArgs::IapManager(args), log_format, json),
        Command::Iap(IapCommand::Sensor(args)) => one(ServiceArgs::IapSensor(args), log_format, json),
        Command::Iap(IapCommand::Proxy(args)) => one(ServiceArgs::IapProxy(args), log_format, json),
        Command::Obp(ObpCommand::Broker(args)) => one(ServiceArgs::ObpBroker(args), log_format, json),
        Command::Obp(ObpCommand::Dns(args)) => one(ServiceArgs::ObpDns(Box::new(args)), log_format, json),
        Command::Obp(command) => {
            logging::init_or(log_format, "warn")?;
            wait(obp::run(command, json))
        }
        Command::Repute(ReputeCommand::Serve(args)) => one(ServiceArgs::ReputeServe(args), log_format, json),
        Command::Repute(ReputeCommand::Dnsbl(args)) => one(ServiceArgs::ReputeDnsbl(args), log_format, json),
        Command::Repute(command) => {
            logging::init_or(log_format, "warn")?;
            wait(repute::run(command, json))
        }
        Command::Lurk(LurkCommand::Ca(args)) => one(ServiceArgs::LurkCa(args), log_format, json),
        Command::Lurk(LurkCommand::Ido(args)) => one(ServiceArgs::LurkIdo(args), log_format, json),
        Command::Lurk(LurkCommand::Ndc(args)) => one(ServiceArgs::LurkNdc(args), log_format, json),
        Command::Lurk(LurkCommand::Relay(args)) => one(ServiceArgs::LurkRelay(args), log_format, json),
        Command::Lurk(command) => {
            logging::init_or(log_format, "warn")?;
            wait(lurk::run(command, json))
        }
        Command::Dots(DotsCommand::CallHomeClient(args)) => one(ServiceArgs::DotsClient(args), log_format, json),
        Command::Dots(DotsCommand::CallHomeServer(args)) => one(ServiceArgs::DotsServer(args), log_format, json),
        Command::Dots(command) => {
            logging::init_or(log_format, "warn")?;
            wait(dots::run(command, json))
        }
        Command::Quickstart(args) => {
            logging::init_or(log_format, "warn")?;
            wait(quickstart::run(&args, json))
        }
    }
}

fn one(args: ServiceArgs, log_format: crate::cli::LogFormat, json: bool) -> Result<(), Failure> {
    logging::init(log_format)?;
    wait(supervisor::run(Config::of(vec![Service::from(args)]), None, json))
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    // Readers of standard input or a FIFO may never end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}

/// `config check`: every problem is a line on standard error (an object with `json`).
fn check(file: &std::path::Path, json: bool) -> Result<(), Failure> {
    let (problems, services): (Vec<Failure>, usize) = match config::load(file)? {
        Ok(config) => (config::check(&config), config.services.len()),
        Err(problems) => (problems.into_iter().map(Failure::from).collect(), 0),
    };
    if json {
        for problem in &problems {
            out::line(&serde_json::json!({"event": "problem", "message": problem.to_string()}).to_string())?;
        }
    }
    let mut problems = problems.into_iter();
    let Some(last) = problems.next_back() else {
        return if json {
            out::line(&serde_json::json!({"event": "checked", "ok": true, "services": services}).to_string())
        } else {
            out::line(&format!("{}: {services} service(s), no problem found", file.display()))
        };
    };
    for problem in problems {
        let _ = problem.report();
    }
    Err(last)
}
