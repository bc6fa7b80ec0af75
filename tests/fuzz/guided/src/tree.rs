//! A message of an unknown type as a tree of its fields.

use fuzz::Dice;

/// Deeper ones are left as bytes: none of ours is.
const DEPTH_MAX: usize = 12;

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its number.
    pub(crate) number: u64,
    /// Its content.
    pub(crate) value: Value,
}

/// What a field holds, as far as its bytes tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Wire type 0.
    Number(u64),
    /// Wire type 1.
    Eight([u8; 8]),
    /// Wire type 5.
    Four([u8; 4]),
    /// Wire type 2.
    Bytes(Vec<u8>),
    /// Wire type 2 too, and its bytes are fields.
    Message(Vec<Field>),
}

/// The fields, if the bytes are nothing else.
pub(crate) fn read(bytes: &[u8]) -> Option<Vec<Field>> {
    fields(bytes, DEPTH_MAX)
}

fn fields(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(number(&mut bytes)?),
            1 => Value::Eight(chunk(&mut bytes)?),
            5 => Value::Four(chunk(&mut bytes)?),
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (content, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                let inner = if depth > 0 { fields(content, depth - 1) } else { None };
                inner
                    .filter(|fields| !fields.is_empty())
                    .map_or_else(|| Value::Bytes(content.to_vec()), Value::Message)
            }
            _ => return None,
        };
        found.push(Field { number: tag >> 3, value });
    }
    found.iter().all(|field| field.number > 0).then_some(found)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*chunk)
}

/// The bytes of the fields.
pub(crate) fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let mut tag = |kind| put(field.number << 3 | kind, out);
        match &field.value {
            Value::Number(number) => {
                tag(0);
                put(*number, out);
            }
            Value::Eight(bytes) => {
                tag(1);
                out.extend(bytes);
            }
            Value::Four(bytes) => {
                tag(5);
                out.extend(bytes);
            }
            Value::Bytes(bytes) => {
                tag(2);
                put(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Value::Message(fields) => {
                let mut content = Vec::new();
                write(fields, &mut content);
                tag(2);
                put(content.len() as u64, out);
                out.extend(content);
            }
        }
    }
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// How many lists of fields there are, the outermost included, that are as asked.
pub(crate) fn lists(fields: &[Field], asked: &impl Fn(&[Field]) -> bool) -> usize {
    let within = fields.iter().map(|field| match &field.value {
        Value::Message(fields) => lists(fields, asked),
        _ => 0,
    });
    usize::from(asked(fields)) + within.sum::<usize>()
}

/// The list of that number among those; the outermost when there are fewer.
pub(crate) fn list<'a>(
    fields: &'a mut Vec<Field>,
    number: usize,
    asked: &impl Fn(&[Field]) -> bool,
) -> &'a mut Vec<Field> {
    let mut left = number;
    if asked(fields) {
        if left == 0 {
            return fields;
        }
        left -= 1;
    }
    let at = fields.iter().position(|field| match &field.value {
        Value::Message(inner) => {
            let held = lists(inner, asked);
            let here = left < held;
            left -= if here { 0 } else { held };
            here
        }
        _ => false,
    });
    match at {
        Some(at) => match &mut fields[at].value {
            Value::Message(inner) => list(inner, left, asked),
            _ => unreachable!("it was found to be a message"),
        },
        None => fields,
    }
}

/// Any of the lists.
pub(crate) fn any_list<'a>(dice: &mut Dice, fields: &'a mut Vec<Field>) -> &'a mut Vec<Field> {
    let count = lists(fields, &|_| true);
    list(fields, dice.below(count), &|_| true)
}

/// Any of the fields, if there is one where it looks.
pub(crate) fn any<'a>(dice: &mut Dice, fields: &'a mut Vec<Field>) -> Option<&'a mut Field> {
    let list = any_list(dice, fields);
    let at = dice.below(list.len());
    list.get_mut(at)
}
