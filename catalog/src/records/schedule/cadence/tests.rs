use super::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// The next times after a moment, as told by the clocks of the zone.
fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cadence = Cadence::parse(expression, zone).unwrap();
    let local = |time: DateTime<Utc>| time.with_timezone(&cadence.zone).to_rfc3339();
    cadence.upcoming(at(after)).take(count).map(local).collect()
}

#[test]
fn times_are_strictly_after() {
    let cadence = Cadence::parse("0 0 12 * * *", "UTC").unwrap();
    let noon = at("2026-11-23T12:00:00Z");
    assert_eq!(cadence.next_after(at("2026-11-23T11:59:59.999Z")), Some(noon));
    assert_eq!(cadence.next_after(noon), Some(at("2026-11-24T12:00:00Z")));
    assert_eq!(cadence.next_after(at("2026-11-23T12:00:00.001Z")), Some(at("2026-11-24T12:00:00Z")));
}

#[test]
fn the_fields_are_those_of_cron_with_seconds_first() {
    let start = "2026-11-23T00:00:00Z"; // a Monday
    for (expression, expected) in [
        ("*/20 * * * * *", ["2026-11-23T00:00:20+00:00", "2026-11-23T00:00:40+00:00"]),
        ("0 */15 9-10 * * *", ["2026-11-23T09:00:00+00:00", "2026-11-23T09:15:00+00:00"]),
        ("5 0 0 1 JAN,jul *", ["2027-01-01T00:00:05+00:00", "2027-07-01T00:00:05+00:00"]),
        // 0 and 7 are Sunday
        ("0 0 0 * * 0", ["2026-11-29T00:00:00+00:00", "2026-12-06T00:00:00+00:00"]),
        ("0 0 0 * * 7", ["2026-11-29T00:00:00+00:00", "2026-12-06T00:00:00+00:00"]),
        ("0 0 8 ? * mon-fri", ["2026-11-23T08:00:00+00:00", "2026-11-24T08:00:00+00:00"]),
        // either of day of month and day of week is enough
        ("0 0 0 25 * TUE", ["2026-11-24T00:00:00+00:00", "2026-11-25T00:00:00+00:00"]),
        ("0 0 0 L * *", ["2026-11-30T00:00:00+00:00", "2026-12-31T00:00:00+00:00"]),
        ("0 0 0 * * MON#1", ["2026-12-07T00:00:00+00:00", "2027-01-04T00:00:00+00:00"]),
        ("  0   0 0 1 1 *  ", ["2027-01-01T00:00:00+00:00", "2028-01-01T00:00:00+00:00"]),
    ] {
        assert_eq!(next(expression, "UTC", start, 2), expected, "{expression}");
    }
}

/// Berlin's clocks are put forward from 02:00 to 03:00 on 29 March 2026.
#[test]
fn a_time_that_does_not_exist() {
    let before = "2026-03-28T12:00:00Z";
    // one time a day: at the first moment after the gap, and once
    assert_eq!(
        next("0 30 2 * * *", "Europe/Berlin", before, 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    // a time that the gap ends with, and one it begins with
    assert_eq!(next("0 0 3 * * *", "Europe/Berlin", before, 1), ["2026-03-29T03:00:00+02:00"]);
    assert_eq!(
        next("0 0 2 * * *", "Europe/Berlin", before, 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
    );
    // several times a day: what lies in the gap is left out
    assert_eq!(
        next("0 */30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
    assert_eq!(
        next("0 30 2,4 * * *", "Europe/Berlin", before, 2),
        ["2026-03-29T04:30:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    // New York's on 8 March
    assert_eq!(
        next("0 30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    );
}

/// Berlin's clocks are put back from 03:00 to 02:00 on 25 October 2026.
#[test]
fn a_time_that_exists_twice() {
    // one time a day: once, the first time
    assert_eq!(
        next("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    // asked between the two, it does not come again
    assert_eq!(
        next("0 30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-26T02:30:00+01:00"]
    );
    // several times a day: each time the clocks show it
    assert_eq!(
        next("0 30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 4),
        [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:30:00+01:00",
            "2026-10-25T04:30:00+01:00"
        ]
    );
    // New York's on 1 November
    assert_eq!(
        next("0 30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
        ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]
    );
    assert_eq!(
        next("0 0 * * * *", "America/New_York", "2026-11-01T04:30:00Z", 3),
        ["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"]
    );
}

/// Whatever the clocks do, the times are in order, none comes twice, and each comes from any moment before it.
#[test]
fn the_days_when_clocks_are_moved_lose_no_order() {
    for expression in ["*/30 */7 * * * *", "0 */20 1-3 * * *", "0 30 2 * * *", "0 15,45 2 * * SUN"] {
        for (zone, day) in [
            ("Europe/Berlin", "2026-03-28T20:00:00Z"),
            ("Europe/Berlin", "2026-10-24T20:00:00Z"),
            ("America/New_York", "2026-03-08T03:00:00Z"),
            ("America/New_York", "2026-11-01T02:00:00Z"),
            // half an hour
            ("Australia/Lord_Howe", "2026-04-04T10:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T10:00:00Z"),
        ] {
            let cadence = Cadence::parse(expression, zone).unwrap();
            let times: Vec<_> = cadence.upcoming(at(day)).take(200).collect();
            assert_eq!(times.len(), 200, "{expression} {zone}");
            for pair in times.windows(2) {
                assert!(pair[0] < pair[1], "{expression} {zone}: {pair:?}");
                let just_before = pair[1] - chrono::TimeDelta::milliseconds(1);
                assert_eq!(cadence.next_after(just_before), Some(pair[1]), "{expression} {zone}");
            }
        }
    }
}

#[test]
fn leap_days_come_when_there_is_one() {
    assert_eq!(
        next("0 0 0 29 2 *", "UTC", "2026-11-23T00:00:00Z", 2),
        ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]
    );
    // 2100 is no leap year
    assert_eq!(next("0 0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", 1), ["2104-02-29T00:00:00+00:00"]);
}

#[test]
fn what_never_comes_is_refused() {
    for expression in ["0 0 0 31 2 *", "0 0 0 30 FEB *", "0 0 0 31 4,6,9,11 *"] {
        let error = Cadence::parse(expression, "Europe/Berlin").unwrap_err();
        assert_eq!(error.to_string(), format!("schedule: `{expression}` never comes"));
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (expression, zone, named) in [
        ("", "UTC", "0 fields"),
        ("* * * * *", "UTC", "5 fields"),
        ("* * * * * * *", "UTC", "7 fields"),
        ("@daily", "UTC", "`@`"),
        ("0 0 0 * * é", "UTC", "`é`"),
        ("60 * * * * *", "UTC", "60"),
        ("* 60 * * * *", "UTC", "60"),
        ("* * 24 * * *", "UTC", "24"),
        ("* * * 32 * *", "UTC", "32"),
        ("* * * * 13 *", "UTC", "13"),
        ("* * * * * 8", "UTC", "8"),
        ("* * * 0 * *", "UTC", "0"),
        ("*/0 * * * * *", "UTC", "`*/0 * * * * *`"),
        ("5-1 * * * * *", "UTC", "`5-1 * * * * *`"),
        ("x * * * * *", "UTC", "`x * * * * *`"),
        ("-1 * * * * *", "UTC", "`-1 * * * * *`"),
        ("0 0 0 * * *", "", "timezone: ``"),
        ("0 0 0 * * *", "Mars/Olympus", "timezone: `Mars/Olympus`"),
        ("0 0 0 * * *", "+02:00", "timezone: `+02:00`"),
    ] {
        let error = Cadence::parse(expression, zone).unwrap_err().to_string();
        assert!(error.contains(named), "{expression} {zone}: {error}");
    }
    let long = format!("{} 0 0 * * *", ["1"; 300].join(","));
    assert!(Cadence::parse(&long, "UTC").unwrap_err().to_string().contains("500"));
}
