use std::ops::RangeInclusive;

/// A container port or a range of them, as in `80` or `8000-8010`.
pub(crate) fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let one = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        match (digits, text.parse::<u16>()) {
            (true, Ok(0)) => Err("port 0 does not exist".to_owned()),
            (true, Ok(port)) => Ok(port),
            (true, Err(_)) => Err("ports go from 1 to 65535".to_owned()),
            (false, _) if text.is_empty() => Err("a port is missing".to_owned()),
            (false, _) => Err(format!("`{text}` is not a port number")),
        }
    };
    match text.split_once('-') {
        None => one(text).map(|port| port..=port),
        Some((from, to)) => {
            let (from, to) = (one(from)?, one(to)?);
            if from > to {
                return Err(format!("the range {from}-{to} runs backwards"));
            }
            Ok(from..=to)
        }
    }
}
