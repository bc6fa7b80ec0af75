//! What a test does to the engine, and asks it.

use std::collections::BTreeSet;

use model::{Bytes, Health, TaskId};

use super::{FakeEngine, Held, KILLED};
use crate::runtime::{Container, ContainerId, ContainerState, Happening};

impl FakeEngine {
    /// Puts an image on the machine.
    #[must_use]
    pub fn with_image(self, image: &str) -> Self {
        self.lock().images.insert(image.to_owned());
        self
    }

    /// Lets an image be fetched after this many failures.
    #[must_use]
    pub fn with_remote(self, image: &str, failures: u32) -> Self {
        self.lock().registry.insert(image.to_owned(), failures);
        self
    }

    /// Lets an image be there for machines of another kind only.
    #[must_use]
    pub fn with_foreign(self, image: &str) -> Self {
        self.lock().foreign.insert(image.to_owned());
        self
    }

    /// Lets an image's registry accept whoever asks for it, and say nothing.
    #[must_use]
    pub fn with_silent(self, image: &str) -> Self {
        self.lock().silent.insert(image.to_owned());
        self
    }

    /// The disk is as large and has as much free.
    pub fn set_disk(&self, size: Bytes, free: Bytes) {
        self.lock().disk = (size, free);
    }

    /// The images on the machine.
    pub fn images(&self) -> BTreeSet<String> {
        self.lock().images.clone()
    }

    /// Lets something happen while the engine is asked next what there is, before it answers.
    pub fn during_look(&self, happens: impl FnOnce() + Send + 'static) {
        self.lock().during_look.0 = Some(Box::new(happens));
    }

    /// The next creations happen, but their answers get lost.
    pub fn lose_replies(&self, count: u32) {
        self.lock().lost_replies = count;
    }

    /// The next starts fail, as with a port that is taken.
    pub fn fail_starts(&self, count: u32) {
        self.lock().failing_starts = count;
    }

    /// A program that is no container has the port, or lets go of it.
    pub fn set_port_taken(&self, port: u16, taken: bool) {
        let ports = &mut self.lock().taken_ports;
        if taken {
            ports.insert(port)
        } else {
            ports.remove(&port)
        };
    }

    /// The containers there are can never be started any more.
    pub fn jam(&self) {
        let mut state = self.lock();
        state.jammed = state.containers.keys().cloned().collect();
    }

    /// The engine stops answering; containers go on.
    pub fn go_down(&self) {
        self.lock().down = true;
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// The engine answers again.
    pub fn come_up(&self) {
        self.lock().down = false;
    }

    /// The engine restarts: every container ends with code 0, and nobody is told.
    pub fn restart(&self) {
        self.go_down();
        let now = self.now();
        let mut state = self.lock();
        state.told.clear();
        for held in state.containers.values_mut() {
            if held.shown.state == ContainerState::Running {
                held.end(0, now);
            }
        }
        state.down = false;
    }

    /// A container's process ends by itself.
    pub fn exit(&self, id: &ContainerId, code: i64) {
        self.end(id, code, &[Happening::Died]);
    }

    /// Somebody kills a container past the agent.
    pub fn kill(&self, id: &ContainerId) {
        self.end(id, KILLED, &[Happening::Killed, Happening::Died]);
    }

    /// The kernel kills a container for memory.
    pub fn run_out_of_memory(&self, id: &ContainerId) {
        if let Some(held) = self.lock().containers.get_mut(id) {
            held.shown.oom_killed = true;
        }
        self.end(id, KILLED, &[Happening::OutOfMemory, Happening::Died]);
    }

    /// Somebody removes a container past the agent.
    pub fn vanish(&self, id: &ContainerId) {
        let removed = self.lock().containers.remove(id);
        if let Some(Held { cluster, shown, .. }) = removed {
            self.say(cluster, &shown, Happening::Changed);
        }
    }

    /// A container's health check changes its mind.
    pub fn set_health(&self, id: &ContainerId, health: Health) {
        if let Some(held) = self.lock().containers.get_mut(id) {
            held.shown.health = health;
        }
        self.tell(id, Happening::Changed);
    }

    /// Adds a volume that somebody else made.
    pub fn add_volume(&self, name: &str) {
        self.lock().volumes.insert(name.to_owned(), None);
    }

    /// The names of the volumes.
    pub fn volumes(&self) -> BTreeSet<String> {
        self.lock().volumes.keys().cloned().collect()
    }

    /// Every container of every cluster.
    pub fn containers(&self) -> Vec<Container> {
        self.lock().containers.values().map(|held| held.shown.clone()).collect()
    }

    /// The tasks of the starts so far, in order.
    pub fn starts(&self) -> Vec<TaskId> {
        self.lock().starts.clone()
    }

    /// The images asked of registries so far, in order.
    pub fn pulls(&self) -> Vec<String> {
        self.lock().pulls.clone()
    }
}
