//! The forms of what clients say, as schemas. The rules themselves are the domain's and those of ids; tests at the front
//! door ask for what is just right and just wrong by these.

use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};

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

/// Of a session or a user.
pub fn id() -> Object {
    let pattern = r"^[A-Za-z0-9._:@|-]*[A-Za-z0-9_:@|-][A-Za-z0-9._:@|-]*$";
    text(1, 128, pattern).build()
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

pub fn title() -> Object {
    let pattern = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$";
    maybe(text(1, 200, pattern))
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
