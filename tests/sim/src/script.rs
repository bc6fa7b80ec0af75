//! Stories as scripts: what a person does and what happens, one line each; what is shown is the answer.
//!
//! ```text
//! node add mini-1 mem=1000 role=database     a machine joins; other words are its labels
//! node kill|start|sleep|cordon|uncordon mini-1
//! node drain mini-1 [20s]
//! node label mini-1 role=agents zone-        | node rm mini-1 [force] [volumes]
//! agent kill|start mini-1                    the process alone; what runs goes on
//! rebalance auto on|off                      few moves by itself for what is stuck
//! up shop/web image=web:1 mem=300            a service of a stack, as it shall be from now on
//! up shop/api … replicas=2 volume=data port=80 strict health after=db:healthy on=role==database
//! down shop [volumes] | down shop/web | scale shop/web 3 | restart shop | rollback shop
//! exit|oom|kill shop/web.1                   its container ends
//! run 5s
//! show tasks|nodes|events | explain shop/web.1
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use model::{
    Bytes, NodeId, NodeName, ServiceName, ServiceSpec, StackName,
    spec::{Condition, Constraint},
};
use scheduler_core::Command;

use crate::{
    event::{End, Event, OnMachine},
    people::{check_health, depend, gpu, mount, publish, service, service_name, stack, stack_name},
    world::World,
};

/// After a person did something, the script goes on when this has passed, in milliseconds.
const A_MOMENT: u64 = 100;

/// A script that is being told.
struct Story {
    world: World,
    stacks: BTreeMap<StackName, BTreeMap<ServiceName, ServiceSpec>>,
    told: String,
}

type Told = Result<(), String>;

/// Tells a script: its lines, each followed by what is shown. An error names the line.
pub fn tell(script: &str) -> Result<String, String> {
    let world = World::empty(1, false);
    let mut story = Story { world, stacks: BTreeMap::new(), told: String::new() };
    story.run(1_000);
    for line in script.lines() {
        let _ = writeln!(story.told, "{line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || line.starts_with('#') {
            continue;
        }
        story.take(&words).map_err(|why| format!("`{line}`: {why}"))?;
        if let Some(why) = story.world.why_broken() {
            return Err(format!("`{line}`: a rule is broken: {why}"));
        }
    }
    Ok(story.told)
}

/// `STACK/SERVICE` or `STACK/SERVICE.SLOT`.
fn replica(text: &str) -> Result<(StackName, ServiceName, Option<u32>), String> {
    let (stack, rest) = text.split_once('/').ok_or("expected STACK/SERVICE")?;
    let (service, slot) = match rest.split_once('.') {
        Some((service, slot)) => (service, Some(slot.parse().map_err(|_| "bad replica")?)),
        None => (rest, None),
    };
    Ok((stack_name(stack), service_name(service), slot))
}

/// What a service shall be, by the words after its name.
fn spec(words: &[&str]) -> Result<ServiceSpec, String> {
    let mut spec = service("web:1", 100);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: not a number"));
        match key {
            "image" => value.clone_into(&mut spec.image),
            "mem" => {
                spec.resources.reserved.memory = Bytes::mib(number()?);
                spec.resources.memory_limit = Bytes::mib(number()?);
            }
            "gpus" => spec.resources.generic.add(&gpu(), number()?),
            "replicas" => spec.replicas = u32::try_from(number()?).unwrap_or(u32::MAX),
            "volume" => mount(&mut spec, value, false),
            "port" => publish(&mut spec, u16::try_from(number()?).unwrap_or_default()),
            "strict" => spec.strict_singleton = true,
            "health" => check_health(&mut spec),
            "after" => {
                let (on, condition) = value.split_once(':').unwrap_or((value, "started"));
                let condition = match condition {
                    "healthy" => Condition::Healthy,
                    "completed" => Condition::Completed,
                    _ => Condition::Started,
                };
                depend(&mut spec, on, condition);
            }
            "on" => {
                let text = format!("node.labels.{value}");
                let wanted: Constraint = text.parse().map_err(|_| format!("{word}: bad"))?;
                spec.placement.constraints.push(wanted);
            }
            _ => return Err(format!("{word}: unknown")),
        }
    }
    Ok(spec)
}

impl Story {
    fn take(&mut self, words: &[&str]) -> Told {
        match words {
            ["node", "add", name, rest @ ..] => self.add(name, rest),
            ["node", "drain", name, rest @ ..] => {
                let seconds = rest.first().and_then(|time| time.strip_suffix('s')).unwrap_or("600");
                let seconds: u64 = seconds.parse().map_err(|_| "not a number")?;
                let until = self.world.wall().plus_millis(seconds * 1_000);
                let node = self.machine(name)?;
                self.ask(Command::DrainNode { node, until });
                Ok(())
            }
            ["rebalance", "auto", word @ ("on" | "off")] => {
                self.ask(Command::SetAutomatic { on: *word == "on" });
                Ok(())
            }
            ["node", "label", name, labels @ ..] => self.label(name, labels),
            ["node", "rm", name, what @ ..] => {
                let node = self.machine(name)?;
                let (tasks, volumes) = (what.contains(&"force"), what.contains(&"volumes"));
                self.ask(Command::RemoveNode { node, tasks, volumes, down_since: None });
                Ok(())
            }
            ["node", what, name] => self.node(what, name),
            ["agent", "kill", name] => {
                let node = self.machine(name)?;
                self.world.stop_agent(node);
                Ok(())
            }
            ["agent", "start", name] => {
                let node = self.machine(name)?;
                self.world.start_agent(node);
                Ok(())
            }
            ["up", name, rest @ ..] => self.up(name, rest),
            ["down", name, rest @ ..] => self.down(name, rest),
            ["scale", name, count] => {
                let (stack, service, _) = replica(name)?;
                let replicas: u32 = count.parse().map_err(|_| "not a number")?;
                let held = self.stacks.get_mut(&stack).and_then(|held| held.get_mut(&service));
                held.ok_or("no such service")?.replicas = replicas;
                self.ask(Command::Scale { stack, service, replicas });
                Ok(())
            }
            ["restart", name] => {
                let stack = stack_name(name);
                self.ask(Command::Restart { stack, service: None, slot: None });
                Ok(())
            }
            ["rollback", name] => {
                self.ask(Command::RollbackStack { stack: stack_name(name), to: None });
                Ok(())
            }
            [how @ ("exit" | "oom" | "kill"), name] => self.end(how, name),
            ["run", time] => {
                let seconds = time.strip_suffix('s').and_then(|text| text.parse::<u64>().ok());
                self.run(seconds.ok_or("expected a time like 5s")? * 1_000);
                Ok(())
            }
            ["show", what] => self.show(what),
            ["explain", name] => {
                let (stack, service, slot) = replica(name)?;
                let lines = self.world.explain(&stack, &service, slot);
                self.print(&lines);
                Ok(())
            }
            _ => Err("unknown".to_owned()),
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.world.now + millis;
        self.world.run_until(end);
    }

    fn print(&mut self, lines: &[String]) {
        for line in lines {
            let _ = writeln!(self.told, "    {line}");
        }
    }

    /// A person asks; a refusal is shown.
    fn ask(&mut self, command: Command) {
        let ask = self.world.ask(command);
        self.run(A_MOMENT);
        let answer = self.world.people.asks.get(ask).and_then(|held| held.answer.clone());
        if let Some(Err(why)) = answer.map(|answer| answer.result) {
            self.print(&[format!("refused: {why}")]);
        }
    }

    fn machine(&self, name: &str) -> Result<NodeId, String> {
        let name = NodeName::new(name).map_err(|error| error.to_string())?;
        let node = self.world.log.reference.node_named(&name);
        node.map(|node| node.id).ok_or_else(|| format!("there is no {name}"))
    }

    fn add(&mut self, name: &str, words: &[&str]) -> Told {
        let mut labels = BTreeMap::new();
        let mut memory = 1_000;
        for word in words {
            let (key, value) = word.split_once('=').ok_or("expected KEY=VALUE")?;
            if key == "mem" {
                memory = value.parse().map_err(|_| "not a number")?;
            } else {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        self.world.join(name, memory, &labels);
        self.run(2_000);
        Ok(())
    }

    fn node(&mut self, what: &str, name: &str) -> Told {
        let node = self.machine(name)?;
        match what {
            "kill" => self.world.power_off(node),
            "start" => self.world.on_machine(node, 1, OnMachine::PowerReturns),
            "sleep" => self.world.sleep(node, 20_000, false),
            "cordon" | "uncordon" => {
                let schedulable = what == "uncordon";
                self.ask(Command::SetSchedulable { node, schedulable });
            }
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }

    fn label(&mut self, name: &str, labels: &[&str]) -> Told {
        let node = self.machine(name)?;
        let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
        for label in labels {
            match (label.split_once('='), label.strip_suffix('-')) {
                (Some((key, value)), _) => drop(set.insert(key.to_owned(), value.to_owned())),
                (None, Some(key)) => drop(remove.insert(key.to_owned())),
                (None, None) => return Err("expected KEY=VALUE or KEY-".to_owned()),
            }
        }
        self.ask(Command::LabelNode { node, set, remove });
        Ok(())
    }

    fn up(&mut self, name: &str, words: &[&str]) -> Told {
        let (stack, service, _) = replica(name)?;
        let spec = spec(words)?;
        self.stacks.entry(stack.clone()).or_default().insert(service, spec);
        self.apply(&stack);
        Ok(())
    }

    fn apply(&mut self, name: &StackName) {
        let services = self.stacks.get(name).cloned().unwrap_or_default();
        self.ask(Command::ApplyStack { spec: stack(name.as_str(), services), basis: None });
    }

    fn down(&mut self, name: &str, words: &[&str]) -> Told {
        if name.contains('/') {
            let (stack, service, _) = replica(name)?;
            self.stacks.entry(stack.clone()).or_default().remove(&service);
            self.apply(&stack);
        } else {
            let (stack, volumes) = (stack_name(name), words == ["volumes"]);
            self.stacks.remove(&stack);
            self.ask(Command::RemoveStack { stack, volumes });
        }
        Ok(())
    }

    fn end(&mut self, how: &str, name: &str) -> Told {
        let (stack, service, slot) = replica(name)?;
        let wanted = (&stack, &service, slot.unwrap_or(1));
        let found = self.world.machines.iter().find_map(|(node, machine)| {
            let held = machine.engine.running().find(|held| held.replica() == wanted)?;
            Some((*node, held.shown.id.clone(), held.run))
        });
        let (node, container, run) = found.ok_or("it does not run")?;
        let how = match how {
            "oom" => End::OutOfMemory,
            "kill" => End::Killed,
            _ => End::Exit(1),
        };
        let what = OnMachine::Ends { container, run, how };
        self.world.queue.push(self.world.now, Event::Machine { node, what });
        Ok(())
    }

    fn show(&mut self, what: &str) -> Told {
        let lines = match what {
            "tasks" => self.world.show_tasks(),
            "nodes" => self.world.show_nodes(),
            "events" => self.world.show_events(),
            _ => return Err("unknown".to_owned()),
        };
        self.print(&lines);
        Ok(())
    }
}
