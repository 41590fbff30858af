//! A higher rate, or more connections, step by step.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::base_plan;
use crate::args::{CommonArgs, Rate};
use crate::plan::{Pacing, Plan, Stop};

/// What rises from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Raise {
    /// The lines a second in each room.
    #[default]
    Rate,
    /// The connections, and the rooms with them.
    Connections,
}

/// Each step is a run of its own, paced as `steady` is; the first that isn't good ends it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest step --spawn --connections 500 --rooms 5 --rate 50/s --until-p99 50ms")]
pub struct StepArgs {
    /// What rises from step to step
    #[arg(long, value_enum, default_value_t)]
    pub raise: Raise,
    /// Connections in all, in the first step
    #[arg(long, default_value_t = 500, value_name = "C")]
    pub connections: usize,
    /// Rooms that they are spread over, in the first step
    #[arg(long, default_value_t = 5, value_name = "R")]
    pub rooms: usize,
    /// Members of each room that talk, in turn
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub senders: usize,
    /// Lines in each room, in the first step
    #[arg(long, default_value = "50/s", value_name = "RATE")]
    pub rate: Rate,
    /// Percent that each step adds to the one before
    #[arg(long, default_value_t = 60, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub more: u64,
    /// A step with a higher 99th percentile of latency is not good
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub until_p99: Duration,
    /// At most so many steps
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub steps: usize,
    /// Bytes of a line's text
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure each step
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// How long to talk before measuring
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub warmup: Duration,
}

impl StepArgs {
    /// The plan of the first step.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        Plan {
            connections: self.connections,
            rooms: self.rooms,
            senders: self.senders,
            size: self.size,
            pacing: Pacing::Open { millilines_per_second: self.rate.millilines_per_second },
            stop: Stop::After(self.duration),
            warmup: self.warmup,
            ..base_plan(common, target)
        }
    }

    /// The plan of the step after a plan.
    #[must_use]
    pub fn next_plan(&self, plan: &Plan) -> Plan {
        let more = |value: usize| value + (value * usize::try_from(self.more).unwrap_or(0) / 100).max(1);
        let mut next = plan.clone();
        if let (Raise::Rate, Pacing::Open { millilines_per_second: rate }) = (self.raise, plan.pacing) {
            let millilines_per_second = rate + (rate * self.more / 100).max(1);
            next.pacing = Pacing::Open { millilines_per_second };
        } else {
            next.connections = more(plan.connections);
            // As many members a room as before.
            next.rooms = (next.connections * plan.rooms / plan.connections).max(1);
        }
        next
    }
}
