//! What a contract still asks of a column, on the bytes of its JSON (twin of liberator/contract/checks.py).
//!
//! A check says yes or "not sure", and never yes to what Python's would refuse: what it is not sure of, Python decides.
//! Python describes one as `{"null": bool, "rules": [["name", operand...], ...]}` (liberator/contract/described.py).

use std::borrow::Cow;
use std::collections::HashSet;

use regex::Regex;
use serde_json::Value;

/// The check of one column. null: does null pass? Every other value must keep all rules.
#[derive(Debug)]
pub struct Check {
    null: bool,
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Rule {
    /// JSON texts, one of which it is.
    Listed(Listed),
    /// Types that it may have.
    Kinds(Kinds),
    /// No number on the wrong side.
    Bound(Bound),
    /// No number but multiples.
    Multiple(i128),
    /// No string with fewer characters,
    Shortest(usize),
    /// or more.
    Longest(usize),
    /// No string in which this is not found.
    Pattern(Regex),
}

/// Few are looked through, which is faster than hashing one.
#[derive(Debug)]
enum Listed {
    Few(Vec<Vec<u8>>),
    Many(HashSet<Vec<u8>>),
}

const FEW: usize = 8;

/// fraction: any number, integer: only whole ones.
#[derive(Debug, Default)]
struct Kinds {
    string: bool,
    boolean: bool,
    integer: bool,
    fraction: bool,
    array: bool,
    object: bool,
}

/// whole: the limit exactly, if it is whole; near: what is nearest to it.
#[derive(Debug)]
struct Bound {
    whole: Option<i128>,
    near: f64,
    lower: bool,
    included: bool,
}

impl Check {
    /// From its description; None: not known here.
    pub fn parse(described: &Value) -> Option<Check> {
        let null = described.get("null")?.as_bool()?;
        let rules = described.get("rules")?.as_array()?;
        let rules = rules.iter().map(Rule::parse).collect::<Option<_>>()?;
        Some(Check { null, rules })
    }

    /// Does the value surely pass? json: as a converter wrote it, without blanks around it.
    pub fn passes(&self, json: &[u8]) -> bool {
        if json == b"null" {
            return self.null;
        }
        self.rules.iter().all(|rule| rule.passes(json))
    }
}

impl Rule {
    fn parse(described: &Value) -> Option<Rule> {
        let (name, given) = described.as_array()?.split_first()?;
        let name = name.as_str()?;
        if name == "kinds" {
            return Some(Rule::Kinds(Kinds::parse(given)?));
        }
        let [operand] = given else { return None };
        let count = || usize::try_from(operand.as_u64()?).ok();
        Some(match name {
            "listed" => Rule::Listed(Listed::parse(operand)?),
            "minimum" => Rule::Bound(Bound::parse(operand, true, true)?),
            "exclusiveMinimum" => Rule::Bound(Bound::parse(operand, true, false)?),
            "maximum" => Rule::Bound(Bound::parse(operand, false, true)?),
            "exclusiveMaximum" => Rule::Bound(Bound::parse(operand, false, false)?),
            "multipleOf" => Rule::Multiple(
                operand
                    .as_str()?
                    .parse()
                    .ok()
                    .filter(|factor| *factor > 0)?,
            ),
            "minLength" => Rule::Shortest(count()?),
            "maxLength" => Rule::Longest(count()?),
            "pattern" => Rule::Pattern(Regex::new(operand.as_str()?).ok()?),
            _ => return None,
        })
    }

    fn passes(&self, json: &[u8]) -> bool {
        match self {
            Rule::Listed(Listed::Few(texts)) => texts.iter().any(|text| text == json),
            Rule::Listed(Listed::Many(texts)) => texts.contains(json),
            Rule::Kinds(kinds) => kinds.fit(json),
            Rule::Bound(bound) => !is_number(json) || bound.holds(json),
            Rule::Multiple(factor) => {
                !is_number(json)
                    || whole(json).and_then(|number| number.checked_rem(*factor)) == Some(0)
            }
            Rule::Shortest(least) => {
                of_string(json, |text| text.chars().take(*least).count() == *least)
            }
            Rule::Longest(most) => of_string(json, |text| {
                text.len() <= *most || text.chars().count() <= *most
            }),
            Rule::Pattern(pattern) => of_string(json, |text| pattern.is_match(text)),
        }
    }
}

impl Listed {
    fn parse(texts: &Value) -> Option<Listed> {
        let texts = texts.as_array()?.iter();
        let texts: Vec<Vec<u8>> = texts
            .map(|text| Some(text.as_str()?.as_bytes().to_vec()))
            .collect::<Option<_>>()?;
        Some(if texts.len() <= FEW {
            Listed::Few(texts)
        } else {
            Listed::Many(texts.into_iter().collect())
        })
    }
}

impl Kinds {
    fn parse(names: &[Value]) -> Option<Kinds> {
        let mut kinds = Kinds::default();
        for name in names {
            match name.as_str()? {
                "string" => kinds.string = true,
                "boolean" => kinds.boolean = true,
                "integer" => kinds.integer = true,
                "fraction" => kinds.fraction = true,
                "array" => kinds.array = true,
                "object" => kinds.object = true,
                "null" => {}
                _ => return None,
            }
        }
        Some(kinds)
    }

    fn fit(&self, json: &[u8]) -> bool {
        match json.first() {
            Some(b'"') => self.string,
            Some(b't' | b'f') => self.boolean,
            Some(b'[') => self.array,
            Some(b'{') => self.object,
            _ if self.fraction && self.integer => is_number(json),
            _ => self.integer && whole(json).is_some(),
        }
    }
}

impl Bound {
    fn parse(limit: &Value, lower: bool, included: bool) -> Option<Bound> {
        let text = limit.as_str()?;
        let near: f64 = text.parse().ok().filter(|near: &f64| near.is_finite())?;
        Some(Bound {
            whole: text.parse().ok(),
            near,
            lower,
            included,
        })
    }

    /// Of two whole numbers each digit counts. Of others, what is nearest to each: as rounding keeps their order, they are as
    /// far apart as these seem to be, unless these are the same.
    fn holds(&self, json: &[u8]) -> bool {
        if let (Some(limit), Some(number)) = (self.whole, whole(json)) {
            let beyond = if self.lower {
                number > limit
            } else {
                number < limit
            };
            return beyond || (self.included && number == limit);
        }
        match number(json) {
            Some(number) if self.lower => number > self.near,
            Some(number) => number < self.near,
            None => false,
        }
    }
}

fn is_number(json: &[u8]) -> bool {
    matches!(json.first(), Some(b'-' | b'0'..=b'9'))
}

/// What is nearest to a number. Rust would read words like inf as well.
fn number(json: &[u8]) -> Option<f64> {
    let is_plain = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let text = std::str::from_utf8(json)
        .ok()
        .filter(|_| json.iter().all(is_plain))?;
    text.parse().ok()
}

/// A whole number, perhaps with zeros behind its point. None: another number, or one that is too long.
fn whole(json: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(json).ok()?;
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_whole = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    if !is_whole || digits.starts_with('+') {
        return None;
    }
    digits.parse().ok()
}

/// Does `test` hold of what a string says? What is no string passes, what can't be read does not.
fn of_string(json: &[u8], test: impl FnOnce(&str) -> bool) -> bool {
    let text = match json {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            std::str::from_utf8(inner).map(Cow::Borrowed).ok()
        }
        [b'"', ..] => serde_json::from_slice(json).map(Cow::Owned).ok(),
        _ => return true,
    };
    text.is_some_and(|text| test(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(rules: Value) -> Check {
        Check::parse(&json!({"null": true, "rules": rules})).unwrap()
    }

    #[track_caller]
    fn decides(rules: Value, good: &[&str], bad: &[&str]) {
        let check = check(rules);
        for json in good {
            assert!(check.passes(json.as_bytes()), "{json}");
        }
        for json in bad {
            assert!(!check.passes(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn null_has_an_answer_of_its_own() {
        let never = Check::parse(&json!({"null": false, "rules": []})).unwrap();
        assert!(!never.passes(b"null"));
        assert!(never.passes(b"1"));
        decides(json!([["listed", []]]), &["null"], &["1", "\"null\""]);
    }

    #[test]
    fn what_is_not_known_here_is_left_to_python() {
        for rules in [
            json!([["uniqueItems", true]]),
            json!([["pattern", "("]]),
            json!([["minimum", "wide"]]),
            json!([["minimum", "1e999"]]),
            json!([["multipleOf", "0"]]),
            json!([["kinds", "number"]]),
            json!([["minLength", -1]]),
            json!({}),
        ] {
            assert!(Check::parse(&json!({"null": true, "rules": rules})).is_none());
        }
    }

    #[test]
    fn whole_numbers_are_compared_by_every_digit() {
        decides(
            json!([["minimum", "0"]]),
            &["0", "0.00", "1", "1e+22", "\"-5\""],
            &["-1", "-0.5", "-1e-9"],
        );
        decides(
            json!([["exclusiveMinimum", "0"]]),
            &["1"],
            &["0", "0.0", "-0"],
        );
        let wide = "9007199254740993";
        decides(
            json!([["maximum", wide]]),
            &[wide, "9007199254740992"],
            &["9007199254740994"],
        );
        decides(
            json!([["exclusiveMaximum", wide]]),
            &["9007199254740992"],
            &[wide],
        );
    }

    #[test]
    fn near_a_limit_that_is_not_whole_it_is_not_sure() {
        decides(
            json!([["maximum", "0.1"]]),
            &["0", "0.09", "-1"],
            &["0.1", "0.10000000000000001", "1"],
        );
        decides(
            json!([["minimum", "0.1"]]),
            &["1", "0.11"],
            &["0.1", "0", "0.09999999999999999999"],
        );
    }

    #[test]
    fn lengths_count_characters() {
        decides(
            json!([["maxLength", 2]]),
            &["\"😀é\"", r#""\n\"""#, "123"],
            &["\"abc\"", r#""\n\"x""#],
        );
        decides(
            json!([["minLength", 2]]),
            &["\"😀é\"", "1"],
            &["\"😀\"", r#""\n""#],
        );
    }

    #[test]
    fn patterns_see_what_the_string_says() {
        decides(
            json!([["pattern", r"\A[a-c]+\z"]]),
            &["\"abc\"", "1"],
            &["\"abd\"", r#""abc\n""#, "\"abc"],
        );
        decides(json!([["pattern", "\n"]]), &[r#""a\nb""#], &["\"ab\""]);
    }

    #[test]
    fn kinds_tell_whole_numbers_from_others() {
        decides(
            json!([["kinds", "integer", "string"]]),
            &["1", "-2.0", "\"a\""],
            &["1.5", "1e+22", "true", "[]", "{}"],
        );
        decides(
            json!([["kinds", "integer", "fraction"]]),
            &["1.5"],
            &["\"NaN\"", "true", ""],
        );
        decides(
            json!([["multipleOf", "5"]]),
            &["10", "-15.0", "\"x\""],
            &["11", "2.5", "1e+22"],
        );
        decides(
            json!([["listed", ["\"a\"", "1"]]]),
            &["\"a\"", "1"],
            &["\"b\"", "1.0"],
        );
    }
}
