//! The parts of a service that describe its container.

use model::{
    VolumeName,
    spec::{
        DeviceCount, DeviceRequest, HealthTest, Healthcheck, Logging, Mount, MountSource, Port,
        Privileges, Protocol, Ulimit,
    },
};

use super::{
    At as _, BadField, Field,
    field::mirror,
    kinds::{
        AbsolutePath, Amount, Labels, LimitOrNone, List, Maybe, Message, Millis, Mode, Parsed,
        PortNumber, Same, Text, Word,
    },
    limits::{DEVICE_REQUESTS_MAX, DEVICE_WORDS_MAX},
    words::ProtocolWord,
};
use crate::v1;

mirror!(v1::Port => Port {
    host_ip: Maybe<Word>,
    published: Maybe<PortNumber>,
    target: PortNumber,
    protocol: ProtocolWord,
});

mirror!(v1::Ulimit => Ulimit {
    soft: LimitOrNone,
    hard: LimitOrNone,
});

mirror!(v1::Logging => Logging {
    driver: Word,
    options: Labels,
});

mirror!(v1::Privileges => Privileges {
    privileged: Same<bool>,
    cap_add: List<Word>,
    devices: List<Word>,
    host_network: Same<bool>,
    host_pid: Same<bool>,
    host_ipc: Same<bool>,
    host_userns: Same<bool>,
    security_opt: List<Word>,
    device_requests: List<Message<v1::DeviceRequest, DeviceRequest>, DEVICE_REQUESTS_MAX>,
});

impl TryFrom<v1::DeviceRequest> for DeviceRequest {
    type Error = BadField;

    fn try_from(wire: v1::DeviceRequest) -> Result<Self, BadField> {
        use v1::device_request::Count;
        let count = match wire.count.ok_or_else(BadField::missing).at("count")? {
            Count::All(_) => DeviceCount::All,
            Count::Number(number) => DeviceCount::Number(number),
            Count::Ids(ids) => DeviceCount::Ids(DeviceWords::read(ids.words).at("ids")?),
        };
        Ok(Self {
            driver: Maybe::<Word>::read(wire.driver).at("driver")?,
            count,
            capabilities: DeviceWords::read(wire.capabilities).at("capabilities")?,
            options: Labels::read(wire.options).at("options")?,
        })
    }
}

impl From<&DeviceRequest> for v1::DeviceRequest {
    fn from(model: &DeviceRequest) -> Self {
        use v1::device_request::{All, Count};
        let count = match &model.count {
            DeviceCount::All => Count::All(All {}),
            DeviceCount::Number(number) => Count::Number(*number),
            DeviceCount::Ids(ids) => Count::Ids(v1::Words { words: ids.clone() }),
        };
        Self {
            driver: model.driver.clone(),
            count: Some(count),
            capabilities: model.capabilities.clone(),
            options: model.options.clone(),
        }
    }
}

/// Names of devices, or what they can do.
type DeviceWords = List<Word, DEVICE_WORDS_MAX>;

/// A command or entrypoint.
pub(super) enum Arguments {}

impl Field for Arguments {
    type Wire = v1::Words;
    type Model = Vec<String>;

    fn read(wire: v1::Words) -> Result<Vec<String>, BadField> {
        List::<Text>::read(wire.words)
    }

    fn write(model: &Vec<String>) -> v1::Words {
        v1::Words { words: model.clone() }
    }
}

/// A port other services may use.
pub(super) enum Exposed {}

impl Field for Exposed {
    type Wire = v1::ExposedPort;
    type Model = (u16, Protocol);

    fn read(wire: v1::ExposedPort) -> Result<(u16, Protocol), BadField> {
        let port = PortNumber::read(wire.port).at("port")?;
        Ok((port, ProtocolWord::read(wire.protocol).at("protocol")?))
    }

    fn write((port, protocol): &(u16, Protocol)) -> v1::ExposedPort {
        v1::ExposedPort { port: PortNumber::write(port), protocol: ProtocolWord::write(protocol) }
    }
}

/// A line of `/etc/hosts`.
pub(super) enum HostLine {}

impl Field for HostLine {
    type Wire = v1::ExtraHost;
    type Model = (String, String);

    fn read(wire: v1::ExtraHost) -> Result<(String, String), BadField> {
        Ok((Word::read(wire.name).at("name")?, Word::read(wire.address).at("address")?))
    }

    fn write((name, address): &(String, String)) -> v1::ExtraHost {
        v1::ExtraHost { name: name.clone(), address: address.clone() }
    }
}

impl TryFrom<v1::Mount> for Mount {
    type Error = BadField;

    fn try_from(wire: v1::Mount) -> Result<Self, BadField> {
        use v1::mount::Source;
        let source = match wire.source.ok_or_else(BadField::missing).at("source")? {
            Source::Volume(volume) => MountSource::Volume {
                name: Parsed::<VolumeName>::read(volume.name).at("name").at("volume")?,
                no_copy: volume.no_copy,
            },
            Source::Anonymous(_) => MountSource::Anonymous,
            Source::Bind(bind) => MountSource::Bind {
                path: AbsolutePath::read(bind.path).at("path").at("bind")?,
                create: bind.create,
            },
            Source::Tmpfs(tmpfs) => MountSource::Tmpfs {
                size: Maybe::<Amount>::read(tmpfs.size).at("size").at("tmpfs")?,
                mode: Maybe::<Mode>::read(tmpfs.mode).at("mode").at("tmpfs")?,
            },
        };
        let target = AbsolutePath::read(wire.target).at("target")?;
        Ok(Self { source, target, read_only: wire.read_only })
    }
}

impl From<&Mount> for v1::Mount {
    fn from(model: &Mount) -> Self {
        use v1::mount::{Anonymous, Bind, Source, Tmpfs, Volume};
        let source = match &model.source {
            MountSource::Volume { name, no_copy } => {
                Source::Volume(Volume { name: name.to_string(), no_copy: *no_copy })
            }
            MountSource::Anonymous => Source::Anonymous(Anonymous {}),
            MountSource::Bind { path, create } => {
                Source::Bind(Bind { path: path.clone(), create: *create })
            }
            MountSource::Tmpfs { size, mode } => {
                Source::Tmpfs(Tmpfs { size: Maybe::<Amount>::write(size), mode: *mode })
            }
        };
        Self { source: Some(source), target: model.target.clone(), read_only: model.read_only }
    }
}

impl TryFrom<v1::Healthcheck> for Healthcheck {
    type Error = BadField;

    fn try_from(wire: v1::Healthcheck) -> Result<Self, BadField> {
        use v1::healthcheck::Test;
        let test = match wire.test.ok_or_else(BadField::missing).at("test")? {
            Test::Inherit(_) => HealthTest::Inherit,
            Test::Disabled(_) => HealthTest::Disabled,
            Test::Exec(words) => HealthTest::Exec(Arguments::read(words).at("exec")?),
            Test::Shell(line) => HealthTest::Shell(Text::read(line).at("shell")?),
        };
        let millis = |value, name| Maybe::<Millis>::read(value).at(name);
        Ok(Self {
            test,
            interval_ms: millis(wire.interval_ms, "interval_ms")?,
            timeout_ms: millis(wire.timeout_ms, "timeout_ms")?,
            retries: wire.retries,
            start_period_ms: millis(wire.start_period_ms, "start_period_ms")?,
        })
    }
}

impl From<&Healthcheck> for v1::Healthcheck {
    fn from(model: &Healthcheck) -> Self {
        use v1::healthcheck::{Disabled, Inherit, Test};
        let test = match &model.test {
            HealthTest::Inherit => Test::Inherit(Inherit {}),
            HealthTest::Disabled => Test::Disabled(Disabled {}),
            HealthTest::Exec(words) => Test::Exec(Arguments::write(words)),
            HealthTest::Shell(line) => Test::Shell(line.clone()),
        };
        Self {
            test: Some(test),
            interval_ms: model.interval_ms,
            timeout_ms: model.timeout_ms,
            retries: model.retries,
            start_period_ms: model.start_period_ms,
        }
    }
}
