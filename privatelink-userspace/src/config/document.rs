//! From a TOML document to the tables of [`super::file`], reporting every key that does not fit.
//!
//! serde would stop at the first such key, and its words name Rust types.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Report;
use super::names::nearest;

/// A value of the document with its place.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// A string with its place.
pub(super) type Text<'a> = Spanned<&'a str>;

/// An integer with its place.
pub(super) type Number = Spanned<i64>;

/// A string or an integer with its place.
pub(super) enum TextOrNumber<'a> {
    /// A string.
    Text(Text<'a>),
    /// An integer.
    Number(Number),
}

impl TextOrNumber<'_> {
    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Self::Text(text) => text.span(),
            Self::Number(number) => number.span(),
        }
    }
}

/// A decimal number as it is written: a string, or a number, whose digits are never made a float.
pub(super) struct Decimal<'a>(pub(super) Text<'a>);

/// An array, or the tables under one `[[header]]`.
pub(super) struct List<T> {
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// Its items; those of a wrong type are left out, and reported.
    pub(super) items: Vec<T>,
    /// Whether the file gives no item at all, not even one of a wrong type.
    pub(super) written_empty: bool,
}

/// Any keys with any values: what may stand there is not for the document to say.
pub(super) struct Free<'a> {
    /// Keys and values in the order of the file.
    pub(super) entries: Vec<(Text<'a>, &'a Node<'a>)>,
}

/// What stands somewhere in the file.
pub(super) trait Placed {
    /// Where: the header of a table, the whole of an inline table.
    fn span(&self) -> Range<usize>;
}

/// What can stand as a value in the file.
pub(super) trait Decode<'a>: Sized {
    /// Reads `node`; `None` if its type is wrong, which is then reported with `example` as remedy.
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self>;
}

impl<'a> Decode<'a> for Text<'a> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(text) => Some(Spanned::new(node.span(), text.as_ref())),
            _ => wrong_type(node, "a string", example, report),
        }
    }
}

impl<'a> Decode<'a> for Number {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Integer(digits) => {
                // What does not fit is beyond every range that a number here is checked against.
                let number = i64::from_str_radix(digits.as_str(), digits.radix());
                Some(Self::new(node.span(), number.unwrap_or(i64::MAX)))
            }
            _ => wrong_type(node, "an integer", example, report),
        }
    }
}

impl<'a> Decode<'a> for TextOrNumber<'a> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(_) => Text::decode(node, example, report).map(Self::Text),
            DeValue::Integer(_) => Number::decode(node, example, report).map(Self::Number),
            _ => wrong_type(node, "a string or an integer", example, report),
        }
    }
}

impl<'a> Decode<'a> for Decimal<'a> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        let digits = match node.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
            DeValue::Float(digits) => digits.as_str(),
            _ => return wrong_type(node, "a number", example, report),
        };
        Some(Self(Spanned::new(node.span(), digits)))
    }
}

impl<'a> Decode<'a> for Spanned<bool> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(value) => Some(Self::new(node.span(), *value)),
            _ => wrong_type(node, "a boolean", example, report),
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for List<T> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(array) => Some(Self {
                span: node.span(),
                items: array.iter().filter_map(|item| T::decode(item, example, report)).collect(),
                written_empty: array.is_empty(),
            }),
            _ => wrong_type(node, "an array", example, report),
        }
    }
}

impl<'a> Decode<'a> for Free<'a> {
    fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
        let table = as_table(node, example, report)?;
        let entry = |(key, value)| (borrowed(key), value);
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Some(Self { entries })
    }
}

/// Reports that `node` is not `wanted`.
pub(super) fn wrong_type<T>(
    node: &Node<'_>,
    wanted: &str,
    example: &str,
    report: &mut Report<'_>,
) -> Option<T> {
    let cause = match node.get_ref() {
        DeValue::Integer(_) | DeValue::Array(_) => {
            format!("wrong type, {wanted} is wanted but this is an {}", node.get_ref().type_str())
        }
        other => format!("wrong type, {wanted} is wanted but this is a {}", other.type_str()),
    };
    report.add(node.span(), cause, format!("write {example}"));
    None
}

/// The keys of one table of the file.
pub(super) struct Fields<'a> {
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Fields<'a> {
    /// Opens the table at `node`, reporting every key that is not one of `known`.
    pub(super) fn open(
        node: &'a Node<'a>,
        known: &[&'static str],
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let fields = Self { span: node.span(), table: as_table(node, example, report)? };
        fields.refuse_unknown(known, report);
        Some(fields)
    }

    /// Opens the document itself.
    pub(super) fn open_root(
        table: &'a DeTable<'a>,
        known: &[&'static str],
        report: &mut Report<'_>,
    ) -> Self {
        let fields = Self { span: 0..0, table };
        fields.refuse_unknown(known, report);
        fields
    }

    fn refuse_unknown(&self, known: &[&'static str], report: &mut Report<'_>) {
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let remedy = match nearest(key.get_ref(), known) {
                Some(near) => format!("did you mean {near}? Known here: {}", known.join(", ")),
                None => format!("remove it; known here: {}", known.join(", ")),
            };
            report.add(key.span(), "unknown key", remedy);
        }
    }

    /// The value of `key`; `None` if absent or refused, and either is reported.
    pub(super) fn required<T: Decode<'a>>(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            let cause = format!("the key {key} is missing");
            report.add(self.span.clone(), cause, format!("add {example}"));
        }
        self.optional(key, example, report)
    }

    /// The value of `key`; `None` if absent, or refused and reported.
    pub(super) fn optional<T: Decode<'a>>(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<T> {
        self.table.get(key).and_then(|node| T::decode(node, example, report))
    }
}

fn as_table<'a>(
    node: &'a Node<'a>,
    example: &str,
    report: &mut Report<'_>,
) -> Option<&'a DeTable<'a>> {
    match node.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => wrong_type(node, "a table", example, report),
    }
}

fn borrowed<'a>(key: &'a Spanned<std::borrow::Cow<'a, str>>) -> Text<'a> {
    Spanned::new(key.span(), key.get_ref().as_ref())
}

/// Declares tables of the file: for each key whether it is required, its type, and an example that
/// the errors show. Every field is an `Option`: `None` is absent, or wrong and already reported.
macro_rules! tables {
    ($(
        $(#[$about:meta])*
        struct $table:ident {
            $( $(#[$key_about:meta])* $need:ident $key:ident: $kind:ty = $example:literal, )*
        }
    )*) => {$(
        $(#[$about])*
        #[derive(Default)]
        pub(super) struct $table<'a> {
            span: Range<usize>,
            /// A table of numbers alone borrows nothing.
            document: PhantomData<&'a ()>,
            $( $(#[$key_about])* pub(super) $key: Option<$kind>, )*
        }

        impl<'a> $table<'a> {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            fn read(span: Range<usize>, fields: &Fields<'a>, report: &mut Report<'_>) -> Self {
                Self {
                    span,
                    document: PhantomData,
                    $( $key: fields.$need(stringify!($key), $example, report), )*
                }
            }
        }

        impl Placed for $table<'_> {
            fn span(&self) -> Range<usize> {
                self.span.clone()
            }
        }

        impl<'a> Decode<'a> for $table<'a> {
            fn decode(node: &'a Node<'a>, example: &str, report: &mut Report<'_>) -> Option<Self> {
                let fields = Fields::open(node, Self::KEYS, example, report)?;
                Some(Self::read(node.span(), &fields, report))
            }
        }
    )*};
}
pub(super) use tables;
