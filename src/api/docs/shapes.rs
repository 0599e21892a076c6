//! The forms of what clients say, as schemas. The rules themselves are the domain's and those of ids; tests at the front
//! door ask for what is just right and just wrong by these.

use utoipa::IntoParams;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder,
    OneOfBuilder, Schema, SchemaFormat, SchemaType, Type,
};

use crate::dialects::Dialect;

/// No control characters.
const LINE: &str = r"^[^\x00-\x1F\x7F-\x9F]*$";

fn text(least: usize, most: usize, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(least))
        .max_length(Some(most))
        .pattern(Some(pattern))
}

/// A `null` is a missing field.
fn maybe(shape: ObjectBuilder) -> Object {
    let types = SchemaType::Array(vec![Type::String, Type::Null]);
    shape.schema_type(types).build()
}

/// Which page of a list of REST is wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "it is read field by field, so that an error names the wrong one"
)]
pub struct Page {
    /// Entries of the page; 50 where it is not said.
    #[param(schema_with = limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = cursor, required = false)]
    cursor: String,
}

pub fn limit() -> Object {
    at_most(200)
}

/// An id, or empty.
pub fn cursor() -> Object {
    text(
        0,
        128,
        r"^$|^[A-Za-z0-9._:@|-]*[A-Za-z0-9_:@|-][A-Za-z0-9._:@|-]*$",
    )
    .build()
}

/// The id of a socket, or empty.
pub fn socket() -> Object {
    text(0, 32, "^$|^[0-9a-fA-F]{32}$").build()
}

/// Of a notification.
pub fn kind() -> Object {
    text(1, 64, "^[A-Za-z0-9_.-]+$").build()
}

/// Of a command, as its sender calls it.
pub fn command_id() -> Object {
    maybe(text(1, 64, r"^[\s\S]+$"))
}

/// The same in a header.
pub fn key() -> Object {
    text(1, 64, "^[!-~]+$").build()
}

/// Any value.
pub fn anything() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .build()
}

/// Whom a notification is for: one of the three.
pub fn addressees() -> OneOfBuilder {
    let one = |name: &str, schema: Schema| {
        ObjectBuilder::new()
            .property(name, schema)
            .required(name)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    };
    let all = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]));
    let doors = Dialect::ALL.map(Dialect::door);
    let door = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(doors));
    OneOfBuilder::new()
        .item(one("all", all.into()))
        .item(one("door", door.into()))
        .item(one("users", users().into()))
}

/// The id of a message, or empty.
pub fn message() -> Object {
    let id = r"^$|^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
    text(0, 36, id).build()
}

/// Behind an event, or empty.
pub fn place() -> Object {
    text(0, 32, r"^$|^[0-9]{1,9}-[0-9]{1,15}$").build()
}

/// Of a session that no recorded one is.
pub fn unrecorded() -> Object {
    let pattern = r"^(?!r-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$)[A-Za-z0-9._:@|-]*[A-Za-z0-9_:@|-][A-Za-z0-9._:@|-]*$";
    text(1, 128, pattern).build()
}

pub fn file() -> Object {
    text(0, 1_024, r"^[^\x00]*$").build()
}

pub fn flag() -> Object {
    let words = ["", "true", "false"];
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

/// From 1 on.
pub fn at_most(most: u32) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(most))
        .build()
}

/// Of a session, a user, a team or an insight.
pub fn id() -> Object {
    let pattern = r"^[A-Za-z0-9._:@|-]*[A-Za-z0-9_:@|-][A-Za-z0-9._:@|-]*$";
    text(1, 128, pattern).build()
}

pub fn workspace_name() -> Object {
    text(1, 256, r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$").build()
}

pub fn maybe_workspace_name() -> Object {
    maybe(text(1, 256, r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$"))
}

pub fn workspace_description() -> Object {
    maybe(text(0, 4_096, r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$"))
}

/// Anything, or nothing.
pub fn any_word() -> Object {
    text(0, 64, LINE).build()
}

pub fn maybe_id() -> Object {
    let pattern = r"^[A-Za-z0-9._:@|-]*[A-Za-z0-9_:@|-][A-Za-z0-9._:@|-]*$";
    maybe(text(1, 128, pattern))
}

pub fn users() -> Array {
    ArrayBuilder::new()
        .items(id())
        .min_items(Some(1))
        .max_items(Some(1_000))
        .build()
}

pub fn name() -> Object {
    maybe(text(1, 128, LINE))
}

pub fn url() -> Object {
    maybe(text(1, 2_048, r"^[^\s\x00-\x1F\x7F-\x9F]+$"))
}

fn called() -> ObjectBuilder {
    text(1, 64, r"^[^\s\x00-\x1F\x7F-\x9F@]+$")
}

pub fn username() -> Object {
    called().build()
}

pub fn maybe_username() -> Object {
    maybe(called())
}

pub fn email() -> Object {
    let pattern = r"^[^\s\x00-\x1F\x7F-\x9F@]+@[^\s\x00-\x1F\x7F-\x9F@]+$";
    text(3, 254, pattern).build()
}

pub fn password() -> Object {
    text(8, 256, r"^[^\x00]*$").build()
}

/// Not blanks alone.
const HEADING: &str = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$";

fn heading(most: usize) -> ObjectBuilder {
    text(1, most, HEADING)
}

/// Of a session or an insight.
pub fn title() -> Object {
    heading(200).build()
}

pub fn maybe_title() -> Object {
    maybe(heading(200))
}

pub fn team_name() -> Object {
    heading(128).build()
}

pub fn maybe_team_name() -> Object {
    maybe(heading(128))
}

fn passage() -> ObjectBuilder {
    text(1, 20_000, r"^[^\x00]*[^\s\x00][^\x00]*$")
}

/// The text of an insight.
pub fn note() -> Object {
    passage().build()
}

pub fn maybe_note() -> Object {
    maybe(passage())
}

/// Of an insight.
pub fn tags() -> Array {
    ArrayBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Array, Type::Null]))
        .items(heading(40))
        .max_items(Some(20))
        .build()
}

/// That is looked for, or empty.
pub fn tag() -> Object {
    text(0, 40, &format!("^$|{HEADING}")).build()
}

/// That are looked for, or empty.
pub fn words() -> Object {
    text(0, 200, r"^[^\x00]*$").build()
}

/// A time in a query, or empty.
pub fn time() -> AnyOfBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new()
        .item(time)
        .item(text().max_length(Some(0)))
}

pub fn description() -> Object {
    maybe(text(0, 4_000, r"^[^\x00]*$"))
}

pub fn language() -> Object {
    maybe(text(1, 64, LINE))
}

pub fn default_role() -> Object {
    let roles = [Some("editor"), Some("viewer"), None];
    maybe(ObjectBuilder::new().enum_values(Some(roles)))
}

pub fn question_id() -> Object {
    text(0, 256, LINE).build()
}

/// Of a match.
pub fn word() -> Object {
    text(0, 64, LINE).build()
}
