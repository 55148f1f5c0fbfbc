//! Instants in whole seconds, written the one way that statements allow.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::wire::as_text;

/// The last second of the year 9999: the latest instant that four digits of year can write.
const LATEST: u64 = 253_402_300_799;

/// Whole seconds since 1970-01-01T00:00:00Z, without leap seconds; from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The instant `seconds` after the epoch, or `None` past the year 9999.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (seconds <= LATEST).then_some(Self(seconds))
    }

    /// Seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// The system's clock, cut to whole seconds. For the edges of the program only.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// This instant plus `duration`, cut to whole seconds and held at the end of the year 9999.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()).min(LATEST))
    }

    /// How long from `earlier` to this instant; zero if it lies before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// A clock before 1970 or after 9999 is held at that end.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()).min(LATEST))
    }
}

impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        UNIX_EPOCH + Duration::from_secs(time.0)
    }
}

/// `2026-11-20T04:07:00Z`, always twenty bytes.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let at = at.expect("seconds are at most LATEST, which is in range");
        // In one piece: statements and entries are full of these.
        let mut text = *b"....-..-..T..:..:..Z";
        let (year, month) = (at.year().unsigned_abs(), u8::from(at.month()).into());
        let (day, hour, minute, second) = (at.day(), at.hour(), at.minute(), at.second());
        let pairs = [year / 100, year % 100, month, day.into(), hour.into(), minute.into(), second.into()];
        for (from, pair) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs) {
            if let Some([tens, ones]) = text.get_mut(from..from + 2) {
                (*tens, *ones) = (digit(pair / 10), digit(pair));
            }
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// The last digit of a number.
fn digit(number: u32) -> u8 {
    b"0123456789".get((number % 10) as usize).copied().unwrap_or_default()
}

/// The text was not of the form `2026-11-20T04:07:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-11-20T04:07:00Z")]
pub struct NotATime;

/// Accepts exactly what `Display` writes: no fraction, no offset, no second 60, no lower case.
impl FromStr for UnixTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let parsed = parse(text).ok_or(NotATime)?;
        // Only one spelling may stand for an instant.
        if parsed.to_string() == text { Ok(parsed) } else { Err(NotATime) }
    }
}

as_text!(UnixTime);

fn parse(text: &str) -> Option<UnixTime> {
    if text.len() != 20 {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u16> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let small = |from, to| -> Option<u8> { number(from, to)?.try_into().ok() };
    let month = Month::try_from(small(5, 7)?).ok()?;
    let date = Date::from_calendar_date(number(0, 4)?.into(), month, small(8, 10)?).ok()?;
    let time = Time::from_hms(small(11, 13)?, small(14, 16)?, small(17, 19)?).ok()?;
    let at = PrimitiveDateTime::new(date, time).assume_offset(UtcOffset::UTC).unix_timestamp();
    UnixTime::from_seconds(u64::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_instant() {
        let good =
            ["1970-01-01T00:00:00Z", "2026-11-20T04:07:00Z", "2028-02-29T23:59:59Z", "9999-12-31T23:59:59Z"];
        for text in good {
            assert_eq!(text.parse::<UnixTime>().map(|t| t.to_string()).as_deref(), Ok(text));
        }
        let bad = [
            "2026-11-20T04:07:60Z",
            "2026-02-29T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20t04:07:00z",
            "2026-11-20T04:07:00+00:00",
            "2026-11-20 04:07:00Z",
            "2026-11-20T04:07:00.0Z",
            "1969-12-31T23:59:59Z",
            "2026-11-20T04:07:0٠Z",
            "+026-11-20T04:07:00Z",
            "2026-1-020T04:07:00Z",
            "",
        ];
        for text in bad {
            assert_eq!(text.parse::<UnixTime>(), Err(NotATime), "{text}");
        }
    }
}
