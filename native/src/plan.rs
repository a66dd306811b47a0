//! How the rows of one table version become events (twin of liberator/plan/compile.py, rows.py).

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use crate::checks::Check;
use crate::envelope::Envelope;
use crate::frames::Field;
use crate::values::Converter;

/// A plan as Python describes it (liberator/plan/native.py). Columns are those of the table, in its order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    columns: Vec<Option<ColumnDescription>>,
    key: Vec<usize>,
    /// Name (a JSON string) and index of the columns that name a row in the id of a snapshot's event.
    id: Vec<(String, usize)>,
    identity: Vec<usize>,
    unique_key: bool,
    checks: Vec<(usize, Value)>,
    before_key: Vec<u8>,
    before_value: Vec<u8>,
    envelope: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnDescription {
    /// A JSON string.
    name: String,
    converter: Value,
}

/// A column that events have.
struct Column {
    /// `"name":`
    member: Vec<u8>,
    converter: Converter,
}

/// A compiled plan. See `TablePlan` in Python for what is what.
pub struct Plan {
    columns: Vec<Option<Column>>,
    key: Vec<usize>,
    /// `"name":` and index.
    id: Vec<(Vec<u8>, usize)>,
    in_identity: Vec<bool>,
    checks: Vec<(usize, Check)>,
    pub unique_key: bool,
    pub before_key: Vec<u8>,
    pub before_value: Vec<u8>,
    pub envelope: Envelope,
}

/// A row's JSON, and where in it the JSON of each column is; those that were not sent have no place.
#[derive(Default)]
pub struct Row {
    pub json: Vec<u8>,
    pub key: Option<Vec<u8>>,
    /// Names of columns that were not sent: JSON strings with commas between them.
    pub missing: Vec<u8>,
    cells: Vec<Option<Range<usize>>>,
}

impl Plan {
    /// From its description, JSON. The error says why rows of the table are left to Python.
    pub fn parse(description: &[u8]) -> Result<Plan, String> {
        let told: Description =
            serde_json::from_slice(description).map_err(|error| error.to_string())?;
        let width = told.columns.len();
        let checks = told
            .checks
            .iter()
            .map(|(index, check)| Some((*index, Check::parse(check)?)))
            .collect::<Option<Vec<_>>>()
            .ok_or("a check of its contract")?;
        let columns = told.columns.into_iter().map(column);
        let plan = Plan {
            columns: columns.collect::<Result<_, _>>()?,
            key: told.key,
            id: told
                .id
                .into_iter()
                .map(|(name, index)| ([name.as_bytes(), b":"].concat(), index))
                .collect(),
            in_identity: (0..width)
                .map(|index| told.identity.contains(&index))
                .collect(),
            checks,
            unique_key: told.unique_key,
            before_key: told.before_key,
            before_value: told.before_value,
            envelope: Envelope::parse(&told.envelope).ok_or("the form of its events")?,
        };
        let published = |index: &usize| matches!(plan.columns.get(*index), Some(Some(_)));
        if !plan.key.iter().all(published) {
            return Err("its key".to_owned());
        }
        Ok(plan)
    }

    /// How many columns the table has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Take from the old row what the new one has unchanged; see `rows.fill`.
    pub fn fill<'a>(&self, new: &mut [Field<'a>], old: &[Field<'a>], whole_row: bool) {
        for ((new, old), in_identity) in new.iter_mut().zip(old).zip(&self.in_identity) {
            if (whole_row || *in_identity) && *new == Field::Unchanged && *old != Field::Null {
                *new = *old;
            }
        }
    }

    /// Leave of an old row only what its identity names.
    pub fn keep_identity(&self, old: &mut [Field]) {
        for (field, in_identity) in old.iter_mut().zip(&self.in_identity) {
            if !in_identity {
                *field = Field::Unchanged;
            }
        }
    }

    /// The JSON of a row and of its key. None: a value does not fit, or a part of the key was not sent.
    pub fn write(&self, fields: &[Field], row: &mut Row) -> Option<()> {
        row.json.clear();
        row.missing.clear();
        row.cells.clear();
        row.json.push(b'{');
        for (column, field) in self.columns.iter().zip(fields) {
            let cell = match column {
                Some(column) => column.write(field, row)?,
                None => None,
            };
            row.cells.push(cell);
        }
        row.json.push(b'}');
        self.write_key(row)
    }

    fn write_key(&self, row: &mut Row) -> Option<()> {
        if self.key.is_empty() {
            row.key = None;
            return Some(());
        }
        let mut key = row.key.take().unwrap_or_default();
        key.clear();
        for index in &self.key {
            key.push(if key.is_empty() { b'{' } else { b',' });
            key.extend_from_slice(&self.columns.get(*index)?.as_ref()?.member);
            let place = row.cells.get(*index)?.clone()?;
            key.extend_from_slice(row.json.get(place)?);
        }
        key.push(b'}');
        row.key = Some(key);
        Some(())
    }

    /// Append what names a row that was written. Some(false): nothing does; None: a part of it has no place.
    pub fn write_id(&self, row: &Row, out: &mut Vec<u8>) -> Option<bool> {
        for (number, (member, index)) in self.id.iter().enumerate() {
            out.push(if number == 0 { b'{' } else { b',' });
            out.extend_from_slice(member);
            out.extend_from_slice(row.json.get(row.cells.get(*index)?.clone()?)?);
        }
        if !self.id.is_empty() {
            out.push(b'}');
        }
        Some(!self.id.is_empty())
    }

    /// Does the row surely keep its contract?
    pub fn passes(&self, row: &Row) -> bool {
        self.checks
            .iter()
            .all(|(index, check)| match row.cells.get(*index) {
                Some(Some(place)) => row
                    .json
                    .get(place.clone())
                    .is_some_and(|json| check.passes(json)),
                Some(None) => true,
                None => false,
            })
    }
}

fn column(told: Option<ColumnDescription>) -> Result<Option<Column>, String> {
    let Some(told) = told else { return Ok(None) };
    let Some(converter) = Converter::parse(&told.converter) else {
        return Err(format!("the type of column {}", told.name));
    };
    let member = [told.name.as_bytes(), b":"].concat();
    Ok(Some(Column { member, converter }))
}

impl Column {
    /// Append the column to the row; where its JSON is.
    fn write(&self, field: &Field, row: &mut Row) -> Option<Option<Range<usize>>> {
        if *field == Field::Unchanged {
            if !row.missing.is_empty() {
                row.missing.push(b',');
            }
            let name = self.member.len().saturating_sub(1);
            row.missing.extend_from_slice(self.member.get(..name)?);
            return Some(None);
        }
        if row.json.len() > 1 {
            row.json.push(b',');
        }
        row.json.extend_from_slice(&self.member);
        let start = row.json.len();
        match field {
            Field::Text(text) => self.converter.convert(text, &mut row.json).ok()?,
            _ => row.json.extend_from_slice(b"null"),
        }
        Some(Some(start..row.json.len()))
    }
}
