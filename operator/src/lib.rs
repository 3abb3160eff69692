//! The hands of `RedisHA`: what runs beside the servers and moves the primary among them.
//!
//! `switchover` decides, `executor` performs, and the rest feeds the two: the controller and the
//! webhook on Kubernetes, `local` and `drill` with processes on one machine.

pub mod cli;

pub mod drill;
pub mod executor;
pub mod local;

pub mod api;
pub mod controller;
pub mod manifests;
pub mod metrics;
pub mod trigger;
pub mod webhook;
