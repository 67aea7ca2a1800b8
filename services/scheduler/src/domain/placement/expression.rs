//! Expressions in CEL that a space's rules say about nodes: read and type-checked when they are set, and turned into the planner's own
//! tree, which is all that is evaluated. Of CEL it is the part that ends: no macros that repeat, no lists but those that are written
//! down, and no more than so many parts.

use std::fmt;

use cel::common::ast::{CallExpr, Expr as Ast, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;
use gantry_planner::{Calculation, Comparison, Expr, Formula, Resource, TextTest, UserRule};
use serde::{Deserialize, Serialize};

/// One rule: which nodes, and how good they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expression {
    /// Only nodes where this holds: `node.labels['disk'] == 'ssd' && node.memory.free > 4 * Gi`.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Added to a node's score, times the weight `prefer`: a number from -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
}

/// What an expression must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Truth,
    Number,
}

/// What is wrong, and where: counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub column: usize,
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.detail)
    }
}

/// Characters of one expression.
const LONGEST: usize = 1000;
/// Words, signs and texts of one expression: with them its depth has a limit, too.
const MOST_TOKENS: usize = 150;
const DEEPEST: usize = 12;
/// Parts of what is evaluated for each node.
const MOST_PARTS: usize = 100;
/// Of one space.
const MOST: usize = 20;

/// (field, what is wrong with it), all of them.
pub fn faults(expressions: &[Expression]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (n, one) in expressions.iter().enumerate() {
        if one.condition.is_none() && one.score.is_none() {
            out.push((format!("expressions[{n}]"), "needs `where` or `score`".into()));
        }
        for (field, text, wanted) in [("where", &one.condition, Wanted::Truth), ("score", &one.score, Wanted::Number)] {
            if let Some(Err(fault)) = text.as_ref().map(|text| compile(text, wanted)) {
                out.push((format!("expressions[{n}].{field}"), fault.to_string()));
            }
        }
    }
    if expressions.len() > MOST {
        out.push(("expressions".into(), format!("at most {MOST}")));
    }
    out
}

/// For the planner.
///
/// # Errors
/// What [`faults`] would have told.
pub fn compiled(expressions: &[Expression]) -> Result<Vec<UserRule>, Fault> {
    let one = |text: &Option<String>, wanted| text.as_ref().map(|text| compile(text, wanted)).transpose();
    expressions.iter().map(|e| Ok(UserRule { holds: one(&e.condition, Wanted::Truth)?, worth: one(&e.score, Wanted::Number)? })).collect()
}

/// # Errors
/// What cannot be read, or is of the wrong type, with its place.
pub fn compile(text: &str, wanted: Wanted) -> Result<Formula, Fault> {
    is_bounded(text)?;
    // A fault of the parser is one of the text: it must not end whoever reads rules.
    let read = std::panic::catch_unwind(|| Parser::new().max_recursion_depth(32).error_recovery_limit(1).parse_with_source_info(text));
    let (ast, source) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(errors)) => return Err(errors.errors.first().map_or_else(|| unreadable(1, 1, ""), |e| unreadable(e.pos.0, e.pos.1, &e.msg))),
        Err(_) => return Err(unreadable(1, 1, "")),
    };
    let reading = Reading { text, source };
    let (found, root) = reading.typed(&ast)?;
    let fits = match wanted {
        Wanted::Truth => found == Type::Bool,
        Wanted::Number => matches!(found, Type::Int | Type::Real),
    };
    if !fits {
        let needed = if wanted == Wanted::Truth { "true or false" } else { "a number" };
        return Err(at(1, 1, format!("must come to {needed}, and comes to {found}")));
    }
    if root.size() > MOST_PARTS {
        return Err(at(1, 1, format!("has {} parts, at most {MOST_PARTS}", root.size())));
    }
    Ok(Formula { text: text.to_owned(), root })
}

fn at(line: usize, column: usize, detail: String) -> Fault {
    Fault { line, column, detail }
}

fn unreadable(line: isize, column: isize, detail: &str) -> Fault {
    let place = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
    let detail = if detail.is_empty() { "cannot be read".to_owned() } else { format!("cannot be read: {detail}") };
    at(place(line), place(column), detail)
}

/// Before it is read: reading goes as deep as the text does.
fn is_bounded(text: &str) -> Result<(), Fault> {
    let length = text.chars().count();
    if length > LONGEST {
        return Err(at(1, 1, format!("has {length} characters, at most {LONGEST}")));
    }
    // With these it could not be told what is a text and what is not without reading it.
    for (what, name) in [("\\", "backslashes"), ("//", "comments"), ("'''", "texts in three quotes"), ("\"\"\"", "texts in three quotes"), ("`", "backticks")] {
        if let Some(found) = text.find(what) {
            let (line, column) = place(text, text[..found].chars().count());
            return Err(at(line, column, format!("{name} are not taken here")));
        }
    }
    let (mut tokens, mut depth, mut quote, mut in_word) = (0, 0_usize, None, false);
    for (n, c) in text.chars().enumerate() {
        if let Some(open) = quote {
            if c == open {
                quote = None;
            }
            continue;
        }
        let of_word = c.is_alphanumeric() || c == '_';
        tokens += usize::from(!c.is_whitespace() && !(of_word && in_word));
        in_word = of_word;
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if tokens > MOST_TOKENS || depth > DEEPEST {
            let (line, column) = place(text, n);
            let limit = if depth > DEEPEST { format!("goes deeper than {DEEPEST} brackets") } else { format!("has more than {MOST_TOKENS} words and signs") };
            return Err(at(line, column, limit));
        }
    }
    Ok(())
}

/// Line and column of a character, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before: String = text.chars().take(offset).collect();
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|c| *c != '\n').count() + 1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Real,
    Text,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Real => "a real number",
            Self::Text => "a text",
        })
    }
}

type Typed = (Type, Expr);

struct Reading<'a> {
    text: &'a str,
    source: SourceInfo,
}

impl Reading<'_> {
    fn fault(&self, of: &IdedExpr, detail: impl Into<String>) -> Fault {
        let offset = self.source.offset_for(of.id).map_or(0, |(start, _)| usize::try_from(start).unwrap_or(0));
        let (line, column) = place(self.text, offset);
        at(line, column, detail.into())
    }

    fn typed(&self, one: &IdedExpr) -> Result<Typed, Fault> {
        match &one.expr {
            Ast::Literal(literal) => self.literal(one, literal),
            Ast::Ident(_) => self.named(one),
            Ast::Select(select) if select.test => {
                let name = [path(&select.operand).unwrap_or_default(), vec![select.field.as_str()]].concat();
                self.label(&name, true).ok_or_else(|| self.fault(one, "`has` takes a label: `has(node.labels.disk)`"))
            }
            Ast::Select(_) => self.named(one),
            Ast::Call(call) => self.call(one, call),
            Ast::Comprehension(_) => Err(self.fault(one, "nothing that repeats is taken here")),
            Ast::List(_) => Err(self.fault(one, "a list is taken only behind `in`")),
            Ast::Map(_) | Ast::Struct(_) | Ast::Unspecified => Err(self.fault(one, "this is not taken here")),
        }
    }

    fn literal(&self, one: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Fault> {
        Ok(match literal {
            LiteralValue::Boolean(value) => (Type::Bool, Expr::Bool(*value.inner())),
            LiteralValue::Int(value) => (Type::Int, Expr::Int(*value.inner())),
            LiteralValue::Double(value) => (Type::Real, Expr::Real(*value.inner())),
            LiteralValue::String(value) => (Type::Text, Expr::Text(value.inner().to_owned())),
            LiteralValue::UInt(_) => return Err(self.fault(one, "write the number without `u`")),
            LiteralValue::Bytes(_) | LiteralValue::Null => return Err(self.fault(one, "this is not taken here")),
        })
    }

    /// What is called by its name alone: amounts, attributes, labels, units.
    fn named(&self, one: &IdedExpr) -> Result<Typed, Fault> {
        let name = path(one).unwrap_or_default();
        if let Some(label) = self.label(&name, false) {
            return Ok(label);
        }
        let int = |expr| Ok((Type::Int, expr));
        let text = |expr| Ok((Type::Text, expr));
        match name[..] {
            ["Ki"] => int(Expr::Int(1 << 10)),
            ["Mi"] => int(Expr::Int(1 << 20)),
            ["Gi"] => int(Expr::Int(1 << 30)),
            ["Ti"] => int(Expr::Int(1 << 40)),
            ["node", what @ ("name" | "arch" | "os" | "zone")] => text(Expr::Attribute(format!("node.{what}"))),
            ["node", "instances"] => int(Expr::Standing),
            ["node", "siblings"] => int(Expr::StandingOwn),
            ["node", kind, "free"] if resource(kind).is_some() => int(resource(kind).map_or(Expr::Int(0), Expr::Free)),
            ["node", kind, "total"] if resource(kind).is_some() => int(resource(kind).map_or(Expr::Int(0), Expr::Total)),
            ["workload", "name"] => text(Expr::Own("gantry.io/workload".into())),
            ["workload", "application"] => text(Expr::Own("gantry.io/application".into())),
            ["workload", kind] if resource(kind).is_some() => int(resource(kind).map_or(Expr::Int(0), Expr::Asked)),
            _ => Err(self.fault(
                one,
                "is not known: there are node.name, node.arch, node.os, node.zone, node.labels, node.cpu, node.memory and node.storage with .free and .total, node.instances, node.siblings, workload.name, workload.application, workload.labels, workload.cpu, workload.memory, workload.storage and Ki, Mi, Gi, Ti",
            )),
        }
    }

    fn label(&self, name: &[&str], only_whether: bool) -> Option<Typed> {
        let (of, label) = match name {
            ["node", "labels", label] => ("node", *label),
            ["workload", "labels", label] => ("workload", *label),
            _ => return None,
        };
        Some(label_of(of, label, only_whether))
    }

    fn call(&self, one: &IdedExpr, call: &CallExpr) -> Result<Typed, Fault> {
        let (target, args) = (call.target.as_deref(), call.args.as_slice());
        match (call.func_name.as_str(), target, args) {
            (operators::LOGICAL_NOT, None, [a]) => Ok((Type::Bool, Expr::Not(self.of(a, &[Type::Bool])?.1.into()))),
            (operators::NEGATE, None, [a]) => {
                let (found, a) = self.of(a, &[Type::Int, Type::Real])?;
                Ok((found, Expr::Negative(a.into())))
            }
            (operators::LOGICAL_AND, None, [a, b]) => self.truths(a, b, Expr::And),
            (operators::LOGICAL_OR, None, [a, b]) => self.truths(a, b, Expr::Or),
            (operators::CONDITIONAL, None, [test, yes, no]) => {
                let test = self.of(test, &[Type::Bool])?.1;
                let ((found, yes), (other, no)) = (self.typed(yes)?, self.typed(no)?);
                if found != other {
                    return Err(self.fault(one, format!("the one comes to {found}, the other to {other}")));
                }
                Ok((found, Expr::If(test.into(), yes.into(), no.into())))
            }
            (operators::INDEX, None, [map, key]) => {
                let of = self.labels(map).ok_or_else(|| self.fault(one, "only node.labels and workload.labels have something to look up"))?;
                Ok(label_of(of, self.text(key)?, false))
            }
            (operators::IN, None, [a, within]) => self.within(a, within),
            ("startsWith", Some(a), [b]) => self.texts(a, b, TextTest::StartsWith),
            ("endsWith", Some(a), [b]) => self.texts(a, b, TextTest::EndsWith),
            ("contains", Some(a), [b]) => self.texts(a, b, TextTest::Contains),
            ("size", None, [a]) | ("size", Some(a), []) => Ok((Type::Int, Expr::Size(self.of(a, &[Type::Text])?.1.into()))),
            ("int", None, [a]) => Ok((Type::Int, Expr::ToInt(self.of(a, &[Type::Int, Type::Real, Type::Text])?.1.into()))),
            ("double", None, [a]) => Ok((Type::Real, Expr::ToReal(self.of(a, &[Type::Int, Type::Real, Type::Text])?.1.into()))),
            (name, None, [a, b]) => match (comparison(name), calculation(name)) {
                (Some(how), _) => {
                    let ((x, a), (y, b)) = (self.typed(a)?, self.typed(b)?);
                    let ordered = !matches!(how, Comparison::Equal | Comparison::NotEqual);
                    if x != y || ordered && x == Type::Bool {
                        return Err(self.fault(one, format!("{x} cannot be compared with {y}; int(...) and double(...) make numbers")));
                    }
                    Ok((Type::Bool, Expr::Compare(how, a.into(), b.into())))
                }
                (None, Some(how)) => {
                    let ((x, a), (y, b)) = (self.typed(a)?, self.typed(b)?);
                    let numbers = x == y && (x == Type::Int || x == Type::Real && how != Calculation::Remainder);
                    if !numbers {
                        return Err(self.fault(one, format!("{x} and {y} cannot be calculated with each other; int(...) and double(...) make numbers")));
                    }
                    Ok((x, Expr::Calculate(how, a.into(), b.into())))
                }
                (None, None) => Err(self.unknown(one, name)),
            },
            (name, ..) => Err(self.unknown(one, name)),
        }
    }

    fn unknown(&self, one: &IdedExpr, name: &str) -> Fault {
        self.fault(one, format!("there is no `{name}` of this kind: there are startsWith, endsWith, contains, size, int, double and has"))
    }

    /// One of these types.
    fn of(&self, one: &IdedExpr, types: &[Type]) -> Result<Typed, Fault> {
        let (found, expr) = self.typed(one)?;
        if types.contains(&found) {
            return Ok((found, expr));
        }
        let needed: Vec<String> = types.iter().map(ToString::to_string).collect();
        Err(self.fault(one, format!("must be {}, and is {found}", needed.join(" or "))))
    }

    fn truths(&self, a: &IdedExpr, b: &IdedExpr, make: fn(Box<Expr>, Box<Expr>) -> Expr) -> Result<Typed, Fault> {
        Ok((Type::Bool, make(self.of(a, &[Type::Bool])?.1.into(), self.of(b, &[Type::Bool])?.1.into())))
    }

    fn texts(&self, a: &IdedExpr, b: &IdedExpr, how: TextTest) -> Result<Typed, Fault> {
        Ok((Type::Bool, Expr::Test(how, self.of(a, &[Type::Text])?.1.into(), self.of(b, &[Type::Text])?.1.into())))
    }

    /// In a list that is written down, or among labels.
    fn within(&self, a: &IdedExpr, within: &IdedExpr) -> Result<Typed, Fault> {
        if let Some(of) = self.labels(within) {
            return Ok(label_of(of, self.text(a)?, true));
        }
        let Ast::List(list) = &within.expr else {
            return Err(self.fault(within, "must be a list, or node.labels or workload.labels"));
        };
        let (found, a) = self.typed(a)?;
        let all = list.elements.iter().map(|element| self.of(element, &[found]).map(|(_, expr)| expr)).collect::<Result<_, _>>()?;
        Ok((Type::Bool, Expr::OneOf(a.into(), all)))
    }

    fn labels(&self, map: &IdedExpr) -> Option<&'static str> {
        match path(map)?[..] {
            ["node", "labels"] => Some("node"),
            ["workload", "labels"] => Some("workload"),
            _ => None,
        }
    }

    /// A name that is written down.
    fn text<'b>(&self, one: &'b IdedExpr) -> Result<&'b str, Fault> {
        match &one.expr {
            Ast::Literal(LiteralValue::String(text)) => Ok(text.inner()),
            _ => Err(self.fault(one, "must be a text in quotes: the label's name")),
        }
    }
}

fn label_of(of: &str, label: &str, only_whether: bool) -> Typed {
    match (of, only_whether) {
        ("node", true) => (Type::Bool, Expr::HasLabel(format!("node.labels.{label}"))),
        ("node", false) => (Type::Text, Expr::Label(format!("node.labels.{label}"))),
        (_, true) => (Type::Bool, Expr::HasOwn(label.to_owned())),
        (_, false) => (Type::Text, Expr::Own(label.to_owned())),
    }
}

/// `a.b.c` as its parts.
fn path(one: &IdedExpr) -> Option<Vec<&str>> {
    match &one.expr {
        Ast::Ident(name) => Some(vec![name.as_str()]),
        Ast::Select(select) if !select.test => {
            let mut parts = path(&select.operand)?;
            parts.push(&select.field);
            Some(parts)
        }
        _ => None,
    }
}

fn resource(name: &str) -> Option<Resource> {
    [Resource::Cpu, Resource::Memory, Resource::Storage].into_iter().find(|r| r.as_str() == name)
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn calculation(operator: &str) -> Option<Calculation> {
    Some(match operator {
        operators::ADD => Calculation::Add,
        operators::SUBSTRACT => Calculation::Subtract,
        operators::MULTIPLY => Calculation::Multiply,
        operators::DIVIDE => Calculation::Divide,
        operators::MODULO => Calculation::Remainder,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<Formula, Fault> {
        compile(text, Wanted::Truth)
    }

    fn refused(text: &str) -> String {
        holds(text).expect_err(text).to_string()
    }

    #[test]
    fn what_is_written_becomes_the_planners_tree() {
        let formula = holds("node.labels['disk'] == 'ssd' && node.memory.free > 4 * Gi").unwrap();
        let disk = Expr::Compare(Comparison::Equal, Box::new(Expr::Label("node.labels.disk".into())), Box::new(Expr::Text("ssd".into())));
        let room = Expr::Calculate(Calculation::Multiply, Box::new(Expr::Int(4)), Box::new(Expr::Int(1 << 30)));
        let free = Expr::Compare(Comparison::Greater, Box::new(Expr::Free(Resource::Memory)), Box::new(room));
        assert_eq!(formula.root, Expr::And(Box::new(disk), Box::new(free)));
        assert!(!formula.is_fixed());
        for text in [
            "has(node.labels.gpu)",
            "'gpu' in node.labels || workload.labels['tier'] != 'db'",
            "node.zone in ['a', 'b'] && !node.name.startsWith('old-')",
            "int(node.labels.rack) % 2 == 0",
            "node.siblings < 3 ? node.instances < 50 : false",
            "double(node.cpu.free) / double(node.cpu.total) >= 0.5",
            "workload.memory <= node.memory.free - 1 * Gi",
            "size(node.labels.model) > 3 && node.arch.contains('arm') && node.os.endsWith('x') && workload.application == 'shop'",
        ] {
            assert!(holds(text).is_ok(), "{text}: {:?}", holds(text));
        }
        assert!(compile("node.cpu.free / 100", Wanted::Number).is_ok());
        assert!(compile("node.labels.disk == 'ssd' ? 500 : -500", Wanted::Number).is_ok());
        assert!(compile("-0.5", Wanted::Number).is_ok());
    }

    #[test]
    fn faults_are_told_with_their_place() {
        assert_eq!(refused("node.memory.free"), "1:1: must come to true or false, and comes to a whole number");
        assert_eq!(compile("true", Wanted::Number).unwrap_err().to_string(), "1:1: must come to a number, and comes to true or false");
        assert!(refused("true &&\n  node.memory.free").starts_with("2:"), "{}", refused("true &&\n  node.memory.free"));
        assert!(refused("node.labels['disk'] == 4").contains("a text cannot be compared with a whole number"));
        assert!(refused("node.colour == 'red'").contains("is not known"));
        assert!(refused("1 + 1.0 == 2.0").contains("cannot be calculated"));
        assert!(refused("'a' + 'b' == 'ab'").contains("cannot be calculated"));
        assert!(refused("node.labels[node.name] == 'x'").contains("in quotes"));
        assert!(refused("lower(node.name) == 'x'").contains("there is no `lower`"));
        assert!(refused("1u == 1u").contains("without `u`"));
        for unreadable in ["", "node.", "(", "1 ==", "a b", "'open"] {
            assert!(refused(unreadable).contains("cannot be read"), "{unreadable}: {}", refused(unreadable));
        }
    }

    #[test]
    fn nothing_repeats_and_nothing_is_too_large() {
        for macros in ["[1, 2].all(x, x > 0)", "[1].exists(x, x > 0)", "[1].map(x, x) == [1]", "[1].filter(x, true) == [1]"] {
            assert!(holds(macros).is_err(), "{macros}");
        }
        assert!(refused(&"x".repeat(LONGEST + 1)).contains("characters"));
        assert!(refused(&format!("{}true{}", "(".repeat(40), ")".repeat(40))).contains("brackets"));
        assert!(refused(&format!("true{}", " && true".repeat(60))).contains("words and signs"));
        assert!(refused(&format!("'a' in [{}'a']", "'a',".repeat(80))).contains("words and signs"));
        for odd in ["'\\'' == 'x'", "true // '", "'''a''' == 'a'", "node.`labels` == 'a'"] {
            assert!(refused(odd).contains("are not taken here"), "{odd}");
        }
    }

    #[test]
    fn every_fault_of_a_list_is_told() {
        let one = |condition: Option<&str>, score: Option<&str>| Expression { condition: condition.map(str::to_owned), score: score.map(str::to_owned) };
        let fields: Vec<String> = faults(&[one(None, None), one(Some("1"), Some("true")), one(Some("true"), Some("1"))]).into_iter().map(|f| f.0).collect();
        assert_eq!(fields, ["expressions[0]", "expressions[1].where", "expressions[1].score"]);
        assert!(faults(&vec![one(Some("true"), None); MOST + 1]).iter().any(|f| f.0 == "expressions"));
        let rules = compiled(&[one(Some("true"), None), one(None, Some("1"))]).unwrap();
        assert!(rules[0].holds.is_some() && rules[0].worth.is_none() && rules[1].worth.is_some());
        assert!(compiled(&[one(Some("("), None)]).is_err());
    }
}
