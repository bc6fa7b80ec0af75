//! Ledgers of an agent.
#![no_main]

guided::target!(node_agent::ledger::fuzzing::ledger);
guided::protobuf!(0);
