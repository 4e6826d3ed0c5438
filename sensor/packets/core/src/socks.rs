//! SOCKS 4, 4a and 5 from the client's bytes: the twin of `sensor/wire/socks.py`.

use crate::facts::Address;
use crate::wire::{Cursor, Stop, clean_name};

const TEXT_MAX: usize = 255;

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub host: String,
    pub length: usize,
}

/// The request that begins a client's stream. `Truncated`: need more bytes.
pub fn parse(client: &[u8]) -> Result<Request, Stop> {
    let mut cursor = Cursor::within(client, 0, 1 << 30);
    match cursor.u8()? {
        4 => socks4(cursor),
        5 => socks5(cursor),
        _ => Err(Stop::Malformed),
    }
}

fn socks4(mut cursor: Cursor<'_>) -> Result<Request, Stop> {
    if !matches!(cursor.u8()?, 1 | 2) {
        return Err(Stop::Malformed);
    }
    cursor.u16()?;
    let address = cursor.array::<4>()?;
    text(&mut cursor)?;
    let host = match address {
        [0, 0, 0, last] if last != 0 => clean_name(text(&mut cursor)?),
        _ => Address::v4(address).text(),
    };
    Ok(Request { host, length: cursor.pos })
}

/// Bytes up to a NUL.
fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let rest = cursor.rest();
    match rest.iter().take(TEXT_MAX.saturating_add(1)).position(|&byte| byte == 0) {
        Some(end) => {
            let text = cursor.take(end)?;
            cursor.take(1)?;
            Ok(text)
        }
        None if rest.len() > TEXT_MAX => Err(Stop::Malformed),
        None => Err(Stop::Truncated),
    }
}

fn socks5(mut cursor: Cursor<'_>) -> Result<Request, Stop> {
    let methods = cursor.vec8()?;
    if methods.is_empty() {
        return Err(Stop::Malformed);
    }
    let mut version = cursor.u8()?;
    if version == 1 && methods.contains(&2) {
        cursor.vec8()?;
        cursor.vec8()?;
        version = cursor.u8()?;
    }
    if version != 5 {
        return Err(Stop::Malformed);
    }
    let (command, reserved, kind) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let known = matches!(command, 1 | 2 | 3 | 0xf0 | 0xf1) && matches!(kind, 1 | 3 | 4);
    if !known || reserved != 0 {
        return Err(Stop::Malformed);
    }
    let host = match kind {
        3 => clean_name(cursor.vec8()?),
        1 => Address::v4(cursor.array()?).text(),
        _ => Address::v6(cursor.array()?).text(),
    };
    cursor.u16()?;
    Ok(Request { host, length: cursor.pos })
}
