use model::{Bytes, MilliCpu};
use proptest::prelude::*;

use super::{cpus, duration, port_range, print_duration, size, words};

#[test]
fn durations_have_units() {
    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        match (duration(text), expected) {
            (Ok(ns), Ok(milliseconds)) => assert_eq!(ns, milliseconds * 1_000_000, "{text}"),
            (Err(error), Err(said)) => assert!(error.contains(said), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
    check("0", Ok(0));
    check("30s", Ok(30_000));
    check("1m30s", Ok(90_000));
    check("1.5h", Ok(5_400_000));
    check("500ms", Ok(500));
    check("1d", Ok(86_400_000));
    check("1w", Ok(604_800_000));
    check("90", Err("did you mean `90s`?"));
    check("1h30", Err("did you mean `30s`?"));
    check("s", Err("a number was expected before `s`"));
    check("5sec", Err("`sec` is not a unit"));
    check("1 m", Err("did you mean `1m`?"));
    check("-1s", Err("negative"));
    check("", Err("a number with a unit"));
    check("9999w", Err("longer than ten years"));
    check("99999999999999999999s", Err("longer than ten years"));
}

#[test]
fn durations_print_as_compose_prints_them() {
    for (text, printed) in [
        ("0", "0s"),
        ("90s", "1m30s"),
        ("1h", "1h0m0s"),
        ("36h", "36h0m0s"),
        ("1.5s", "1.5s"),
        ("250ms", "250ms"),
        ("60.5s", "1m0.5s"),
        ("1500us", "1.5ms"),
        ("5ns", "5ns"),
    ] {
        assert_eq!(duration(text).map(print_duration), Ok(printed.to_owned()), "{text}");
    }
}

#[test]
fn cpus_are_cores() {
    assert_eq!(cpus("2"), Ok(MilliCpu(2000)));
    assert_eq!(cpus("0.5"), Ok(MilliCpu(500)));
    assert_eq!(cpus("0.0001"), Ok(MilliCpu(1)));
    assert_eq!(cpus("500m"), Err("write it in cores: `0.5`".to_owned()));
    for bad in ["", "NaN", "inf", "-1", "1e3", "two", "5000"] {
        assert!(cpus(bad).is_err(), "{bad}");
    }
}

#[test]
fn words_are_split_at_spaces_outside_quotes() {
    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(words(line).unwrap(), expected, "{line}");
    }
    check("", &[]);
    check("  a   b ", &["a", "b"]);
    check("a 'b c' \"d e\"", &["a", "b c", "d e"]);
    check("a\\ b ''", &["a b", ""]);
    check("x\"y\"'z'", &["xyz"]);
    check("\"a\\\"b\\n\" 'c\\d'", &["a\"b\\n", "c\\d"]);
    check("'a && b'", &["a && b"]);
    for bad in ["a && b", "a | b", "a > b", "a; b", "'a", "\"a"] {
        assert!(words(bad).is_err(), "{bad}");
    }
}

proptest! {
    /// The oracle is plain multiplication.
    #[test]
    fn a_size_is_its_number_times_its_unit(number in 0_u64..8192, unit in 0_usize..5, suffix in 0_usize..3) {
        let letter = ["", "k", "m", "g", "t"][unit];
        let suffix = if letter.is_empty() { "" } else { ["", "b", "iB"][suffix] };
        let text = format!("{number}{letter}{suffix}");
        prop_assert_eq!(size(&text), Ok(Bytes(number << (10 * unit))), "{}", text);
    }

    #[test]
    fn a_printed_duration_reads_as_itself(ns in 0_u64..300_000_000_000_000_000) {
        prop_assert_eq!(duration(&print_duration(ns)), Ok(ns));
    }

    #[test]
    fn a_duration_is_the_sum_of_its_parts(h in 0_u64..1000, m in 0_u64..1000, s in 0_u64..1000, ms in 0_u64..5000) {
        let expected = ((h * 3600 + m * 60 + s) * 1000 + ms) * 1_000_000;
        prop_assert_eq!(duration(&format!("{h}h{m}m{s}s{ms}ms")), Ok(expected));
    }

    #[test]
    fn cpus_read_what_the_model_prints(milli in 0_u64..4_096_000) {
        prop_assert_eq!(cpus(&MilliCpu(milli).to_string()), Ok(MilliCpu(milli)));
    }

    #[test]
    fn quoted_words_come_back(list in proptest::collection::vec("[a-z $|&;\"\\\\]{0,6}", 0..5)) {
        let line: Vec<String> = list.iter().map(|word| format!("'{word}'")).collect();
        prop_assert_eq!(words(&line.join(" ")), Ok(list));
    }

    #[test]
    fn no_text_upsets_the_values(text in "\\PC{0,24}") {
        let _ = (size(&text), duration(&text), cpus(&text), words(&text), port_range(&text));
    }
}
