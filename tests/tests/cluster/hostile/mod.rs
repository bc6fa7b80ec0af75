//! People, strangers, members and containers that mean harm, or are made to: refused or borne, with
//! little memory, while everybody else is served. `docs/security.md` lists what is held by which test.

mod caller;
mod commands;
mod connections;
mod files;
mod intruders;
mod links;
mod nodes;
mod probes;
mod reach;
mod secrets;
mod specs;
mod tokens;
mod vandals;
mod wire;
mod words;
