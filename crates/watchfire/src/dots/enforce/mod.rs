//! What stops the traffic, by `--enforce`.

mod desk;
mod flows;
mod flowspec;
mod hook;
mod nft;
mod traffic;

pub use desk::Desk;
pub use flows::{Flow, flows};
pub use flowspec::FlowSpec;
pub use hook::Hook;
pub use nft::Nft;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use dots_tokio::server::{Mitigator, MitigatorError, Order};

use crate::cli::{CallHomeServerArgs, Enforce};
use crate::exit::Failure;

/// The back end of these flags.
///
/// # Errors
/// When it cannot work here.
pub async fn build(args: &CallHomeServerArgs, json: bool) -> Result<Enforcer, Failure> {
    let enforcer = match &args.enforce {
        Enforce::Log => Enforcer::Log(Log),
        Enforce::Nftables => Enforcer::Nft(Nft::open(&args.nft_table, args.quiet.0).await?),
        Enforce::FlowSpec => Enforcer::FlowSpec(FlowSpec::open(&args.flowspec_output, args.flowspec_dialect, json)?),
        Enforce::Exec(program) => {
            let program = program.as_ref().or(args.hook.as_ref()).ok_or_else(|| {
                Failure::usage("exec needs a program").at("--enforce").remedy("name it by --hook CMD")
            })?;
            Enforcer::Exec(Hook::new(program, &args.hook_arg)?)
        }
    };
    Ok(enforcer)
}

/// One of the back ends.
#[derive(Debug)]
#[non_exhaustive]
pub enum Enforcer {
    /// Says it, and no more.
    Log(Log),
    /// The kernel's packet filter.
    Nft(Arc<Nft>),
    /// A program.
    Exec(Hook),
    /// Routers.
    FlowSpec(FlowSpec),
}

impl Enforcer {
    /// As what the service calls.
    pub fn into_mitigator(self) -> Arc<dyn Mitigator> {
        match self {
            Self::Log(log) => Arc::new(log),
            Self::Nft(nft) => nft,
            Self::Exec(hook) => Arc::new(hook),
            Self::FlowSpec(flowspec) => Arc::new(flowspec),
        }
    }

    /// Removes what a former run left, but for what is kept: peers, cuids and mids.
    ///
    /// # Errors
    /// When that cannot be done.
    pub async fn tidy(&self, kept: &BTreeSet<(String, String, u32)>) -> Result<(), Failure> {
        match self {
            Self::Nft(nft) => nft.tidy(kept).await,
            Self::Log(_) | Self::Exec(_) | Self::FlowSpec(_) => Ok(()),
        }
    }
}

/// Says what would be stopped.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct Log;

#[async_trait]
impl Mitigator for Log {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        tracing::info!(peer = order.peer, cuid = order.cuid, mid = order.mid, sources = ?order.hosts,
            targets = ?order.request.targets(), lifetime = ?order.lifetime, "to be stopped");
        Ok(())
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        tracing::info!(peer = order.peer, cuid = order.cuid, mid = order.mid, "to be let through again");
        Ok(())
    }
}
