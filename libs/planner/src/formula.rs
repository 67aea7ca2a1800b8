//! Expressions that users write about nodes, as a tree whose types were checked by whoever made it. Evaluation is total, allocates nothing
//! and takes at most one step for each part of the tree: nothing in it repeats.

use std::collections::BTreeMap;
use std::fmt;

use crate::amounts::Resource;

/// A filter, a score, or both, of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserRule {
    /// Only nodes where it holds; where it cannot be evaluated it does not.
    pub holds: Option<Formula>,
    /// Added to the node's score like what a workload prefers: -1000 to 1000, more is taken for that much. Where it cannot be evaluated it
    /// is 0.
    pub worth: Option<Formula>,
}

/// An expression and what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// As it was written.
    pub text: String,
    pub root: Expr,
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    /// An attribute of the node by its full name; an empty text if it has none.
    Attribute(String),
    /// A label of the node by its attribute's full name; without it nothing can be said.
    Label(String),
    HasLabel(String),
    /// A label of the group.
    Own(String),
    HasOwn(String),
    /// Of the node, in its public unit.
    Free(Resource),
    Total(Resource),
    /// What one instance of the group asks for.
    Asked(Resource),
    /// How many instances stand on the node, and how many of the group's family.
    Standing,
    StandingOwn,
    Not(Box<Expr>),
    Negative(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Calculate(Calculation, Box<Expr>, Box<Expr>),
    OneOf(Box<Expr>, Vec<Expr>),
    Test(TextTest, Box<Expr>, Box<Expr>),
    /// Of a text, in characters.
    Size(Box<Expr>),
    ToInt(Box<Expr>),
    ToReal(Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(&'a str),
}

/// Why nothing can be said. Its `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    NoLabel(String),
    TooLarge,
    ByZero,
    NoNumber,
    /// Whoever made the tree did not check its types.
    Types,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLabel(name) => write!(f, "there is no label `{name}`"),
            Self::TooLarge => f.write_str("a number becomes too large"),
            Self::ByZero => f.write_str("something is divided by zero"),
            Self::NoNumber => f.write_str("a text is no number"),
            Self::Types => f.write_str("it compares what cannot be compared"),
        }
    }
}

/// What an expression may see of a node and of a group.
pub(crate) struct View<'a> {
    pub name: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    pub labels: &'a BTreeMap<String, String>,
    pub amounts: &'a dyn Fn(&Expr) -> i64,
}

impl Formula {
    /// Does it depend on nothing but labels and attributes?
    pub fn is_fixed(&self) -> bool {
        self.root.all(&mut |part: &Expr| !matches!(part, Expr::Free(_) | Expr::Total(_) | Expr::Standing | Expr::StandingOwn))
    }

    pub(crate) fn holds(&self, view: &View<'_>) -> Result<bool, Unknown> {
        match self.root.value(view)? {
            Value::Bool(holds) => Ok(holds),
            Value::Int(_) | Value::Real(_) | Value::Text(_) => Err(Unknown::Types),
        }
    }

    pub(crate) fn worth(&self, view: &View<'_>) -> f32 {
        let worth = match self.root.value(view) {
            Ok(Value::Int(n)) => n.clamp(-1000, 1000) as f32,
            Ok(Value::Real(x)) if !x.is_nan() => x.clamp(-1000.0, 1000.0) as f32,
            Ok(Value::Real(_) | Value::Bool(_) | Value::Text(_)) | Err(_) => 0.0,
        };
        // Minus zero would be another score than zero.
        worth + 0.0
    }
}

impl UserRule {
    /// Both are, as far as they are there.
    pub(crate) fn is_fixed(&self) -> bool {
        self.holds.iter().chain(&self.worth).all(Formula::is_fixed)
    }
}

impl Expr {
    /// This and what is below.
    fn all(&self, test: &mut impl FnMut(&Self) -> bool) -> bool {
        test(self) && self.below().into_iter().all(|part| part.all(&mut *test))
    }

    /// How many parts it has, with itself.
    pub fn size(&self) -> usize {
        1 + self.below().into_iter().map(Self::size).sum::<usize>()
    }

    fn below(&self) -> Vec<&Self> {
        match self {
            Self::Bool(_) | Self::Int(_) | Self::Real(_) | Self::Text(_) | Self::Attribute(_) | Self::Label(_) | Self::HasLabel(_) => Vec::new(),
            Self::Own(_) | Self::HasOwn(_) | Self::Free(_) | Self::Total(_) | Self::Asked(_) | Self::Standing | Self::StandingOwn => Vec::new(),
            Self::Not(one) | Self::Negative(one) | Self::Size(one) | Self::ToInt(one) | Self::ToReal(one) => vec![one.as_ref()],
            Self::And(a, b) | Self::Or(a, b) | Self::Compare(_, a, b) | Self::Calculate(_, a, b) | Self::Test(_, a, b) => vec![a.as_ref(), b.as_ref()],
            Self::If(a, b, c) => vec![a.as_ref(), b.as_ref(), c.as_ref()],
            Self::OneOf(one, of) => std::iter::once(&**one).chain(of).collect(),
        }
    }

    fn value<'a>(&'a self, view: &View<'a>) -> Result<Value<'a>, Unknown> {
        let label = |of: &'a BTreeMap<String, String>, name: &str| of.get(name).map(|text| Value::Text(text)).ok_or_else(|| Unknown::NoLabel(plain(name)));
        Ok(match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Real(value) => Value::Real(*value),
            Self::Text(text) => Value::Text(text),
            Self::Attribute(name) if name == "node.name" => Value::Text(view.name),
            Self::Attribute(name) => Value::Text(view.attributes.get(name).map(String::as_str).unwrap_or_default()),
            Self::Label(name) => label(view.attributes, name)?,
            Self::HasLabel(name) => Value::Bool(view.attributes.contains_key(name)),
            Self::Own(name) => label(view.labels, name)?,
            Self::HasOwn(name) => Value::Bool(view.labels.contains_key(name)),
            Self::Free(_) | Self::Total(_) | Self::Asked(_) | Self::Standing | Self::StandingOwn => Value::Int((view.amounts)(self)),
            Self::Not(one) => Value::Bool(!one.truth(view)?),
            Self::Negative(one) => match one.value(view)? {
                Value::Int(n) => Value::Int(n.checked_neg().ok_or(Unknown::TooLarge)?),
                Value::Real(x) => Value::Real(-x),
                Value::Bool(_) | Value::Text(_) => return Err(Unknown::Types),
            },
            // One side alone may decide, even if nothing can be said of the other.
            Self::And(a, b) => Value::Bool(both(a.truth(view), || b.truth(view), false)?),
            Self::Or(a, b) => Value::Bool(both(a.truth(view), || b.truth(view), true)?),
            Self::If(test, yes, no) => return if test.truth(view)? { yes.value(view) } else { no.value(view) },
            Self::Compare(how, a, b) => Value::Bool(compared(*how, a.value(view)?, b.value(view)?)?),
            Self::Calculate(how, a, b) => calculated(*how, a.value(view)?, b.value(view)?)?,
            Self::OneOf(one, of) => {
                let (one, mut found) = (one.value(view)?, Ok(false));
                for other in of {
                    match other.value(view).and_then(|other| compared(Comparison::Equal, one, other)) {
                        Ok(true) => return Ok(Value::Bool(true)),
                        Ok(false) => {}
                        Err(unknown) => found = Err(unknown),
                    }
                }
                Value::Bool(found?)
            }
            Self::Test(how, text, part) => match (text.value(view)?, part.value(view)?) {
                (Value::Text(text), Value::Text(part)) => Value::Bool(match how {
                    TextTest::StartsWith => text.starts_with(part),
                    TextTest::EndsWith => text.ends_with(part),
                    TextTest::Contains => text.contains(part),
                }),
                _ => return Err(Unknown::Types),
            },
            Self::Size(text) => match text.value(view)? {
                Value::Text(text) => Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX)),
                Value::Bool(_) | Value::Int(_) | Value::Real(_) => return Err(Unknown::Types),
            },
            Self::ToInt(one) => Value::Int(match one.value(view)? {
                Value::Int(n) => n,
                Value::Text(text) => text.parse().map_err(|_| Unknown::NoNumber)?,
                // Beyond these a real number is no whole one of 64 bits.
                Value::Real(x) if x.abs() < 9.2e18 => x as i64,
                Value::Real(_) => return Err(Unknown::TooLarge),
                Value::Bool(_) => return Err(Unknown::Types),
            }),
            Self::ToReal(one) => Value::Real(match one.value(view)? {
                Value::Int(n) => n as f64,
                Value::Real(x) => x,
                Value::Text(text) => text.parse().map_err(|_| Unknown::NoNumber)?,
                Value::Bool(_) => return Err(Unknown::Types),
            }),
        })
    }

    fn truth(&self, view: &View<'_>) -> Result<bool, Unknown> {
        match self.value(view)? {
            Value::Bool(truth) => Ok(truth),
            Value::Int(_) | Value::Real(_) | Value::Text(_) => Err(Unknown::Types),
        }
    }
}

/// A label by the name that people know it by.
fn plain(attribute: &str) -> String {
    attribute.strip_prefix("node.labels.").unwrap_or(attribute).to_owned()
}

/// `decides`: what one side alone has to be.
fn both(a: Result<bool, Unknown>, b: impl FnOnce() -> Result<bool, Unknown>, decides: bool) -> Result<bool, Unknown> {
    match a {
        Ok(a) if a == decides => Ok(decides),
        Ok(_) => b(),
        Err(unknown) => match b() {
            Ok(b) if b == decides => Ok(decides),
            _ => Err(unknown),
        },
    }
}

fn compared(how: Comparison, a: Value<'_>, b: Value<'_>) -> Result<bool, Unknown> {
    let order = match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
        // Numbers that are none are neither equal nor in an order.
        (Value::Real(a), Value::Real(b)) => a.partial_cmp(&b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => return Err(Unknown::Types),
    };
    Ok(match how {
        Comparison::Equal => order.is_some_and(|o| o.is_eq()),
        Comparison::NotEqual => order.is_none_or(|o| o.is_ne()),
        Comparison::Less => order.is_some_and(|o| o.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
        Comparison::Greater => order.is_some_and(|o| o.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
    })
}

fn calculated<'a>(how: Calculation, a: Value<'a>, b: Value<'a>) -> Result<Value<'a>, Unknown> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) if matches!(how, Calculation::Divide | Calculation::Remainder) => Err(Unknown::ByZero),
        (Value::Int(a), Value::Int(b)) => {
            let result = match how {
                Calculation::Add => a.checked_add(b),
                Calculation::Subtract => a.checked_sub(b),
                Calculation::Multiply => a.checked_mul(b),
                Calculation::Divide => a.checked_div(b),
                Calculation::Remainder => a.checked_rem(b),
            };
            result.map(Value::Int).ok_or(Unknown::TooLarge)
        }
        (Value::Real(a), Value::Real(b)) => Ok(Value::Real(match how {
            Calculation::Add => a + b,
            Calculation::Subtract => a - b,
            Calculation::Multiply => a * b,
            Calculation::Divide => a / b,
            Calculation::Remainder => return Err(Unknown::Types),
        })),
        _ => Err(Unknown::Types),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Box<Expr> {
        Box::new(Expr::Text(text.into()))
    }

    fn int(n: i64) -> Box<Expr> {
        Box::new(Expr::Int(n))
    }

    fn label(name: &str) -> Box<Expr> {
        Box::new(Expr::Label(format!("node.labels.{name}")))
    }

    fn holds(root: Expr) -> Result<bool, Unknown> {
        let attributes = BTreeMap::from([("node.labels.disk".to_owned(), "ssd".to_owned()), ("node.zone".to_owned(), "a".to_owned())]);
        let labels = BTreeMap::from([("tier".to_owned(), "db".to_owned())]);
        let amounts = |part: &Expr| if matches!(part, Expr::Free(Resource::Memory)) { 8 << 30 } else { 0 };
        Formula { text: String::new(), root }.holds(&View { name: "n1", attributes: &attributes, labels: &labels, amounts: &amounts })
    }

    #[test]
    fn labels_and_amounts_are_compared() {
        let is = |part: Box<Expr>, value: &str| Expr::Compare(Comparison::Equal, part, text(value));
        assert_eq!(holds(is(label("disk"), "ssd")), Ok(true));
        assert_eq!(holds(is(Box::new(Expr::Attribute("node.name".into())), "n1")), Ok(true));
        assert_eq!(holds(is(Box::new(Expr::Attribute("node.os".into())), "")), Ok(true));
        assert_eq!(holds(is(Box::new(Expr::Own("tier".into())), "db")), Ok(true));
        let free = Box::new(Expr::Free(Resource::Memory));
        assert_eq!(holds(Expr::Compare(Comparison::Greater, free, int(4 << 30))), Ok(true));
        assert_eq!(holds(is(label("gpu"), "x")), Err(Unknown::NoLabel("gpu".into())));
    }

    #[test]
    fn one_side_decides_whatever_is_on_the_other() {
        let unknown = || Box::new(Expr::Compare(Comparison::Equal, label("gpu"), text("x")));
        let known = |value| Box::new(Expr::Bool(value));
        assert_eq!(holds(Expr::And(unknown(), known(false))), Ok(false));
        assert_eq!(holds(Expr::And(known(false), unknown())), Ok(false));
        assert_eq!(holds(Expr::Or(unknown(), known(true))), Ok(true));
        assert!(holds(Expr::And(unknown(), known(true))).is_err() && holds(Expr::Or(known(false), unknown())).is_err());
    }

    #[test]
    fn numbers_never_wrap_and_nothing_is_divided_by_zero() {
        let is_zero = |how, a, b| holds(Expr::Compare(Comparison::Equal, Box::new(Expr::Calculate(how, int(a), int(b))), int(0)));
        assert_eq!(is_zero(Calculation::Multiply, i64::MAX, 2), Err(Unknown::TooLarge));
        assert_eq!(is_zero(Calculation::Divide, 1, 0), Err(Unknown::ByZero));
        assert_eq!(is_zero(Calculation::Divide, i64::MIN, -1), Err(Unknown::TooLarge));
        assert_eq!(is_zero(Calculation::Remainder, 4, 2), Ok(true));
        let huge = Expr::Compare(Comparison::Equal, Box::new(Expr::ToInt(Box::new(Expr::Real(1e30)))), int(0));
        assert_eq!(holds(huge), Err(Unknown::TooLarge));
    }

    #[test]
    fn what_is_worth_something_stays_within_its_bounds() {
        let worth = |root: Expr| {
            let none = BTreeMap::new();
            Formula { text: String::new(), root }.worth(&View { name: "n", attributes: &none, labels: &none, amounts: &|_| 0 })
        };
        assert_eq!(worth(Expr::Int(5_000)), 1000.0);
        assert_eq!(worth(Expr::Real(f64::NAN)), 0.0);
        assert_eq!(worth(Expr::Real(f64::NEG_INFINITY)), -1000.0);
        assert_eq!(worth(Expr::Calculate(Calculation::Divide, int(1), int(0))), 0.0);
        assert_eq!(worth(Expr::Text("x".into())), 0.0);
    }

    #[test]
    fn what_depends_on_bookings_is_told_from_what_does_not() {
        let formula = |root| Formula { text: String::new(), root };
        assert!(formula(Expr::HasLabel("node.labels.disk".into())).is_fixed());
        assert!(!formula(Expr::Not(Box::new(Expr::Compare(Comparison::Less, Box::new(Expr::Standing), int(3))))).is_fixed());
        assert_eq!(Expr::OneOf(text("a"), vec![Expr::Text("b".into()), Expr::Bool(true)]).size(), 4);
    }
}
