//! Accounts, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use crate::api::access::LogoutBody;
use crate::api::accounts::{
    AccountOut, GivenOut, GuestBody, LoginBody, PasswordBody, RegisterBody, RegisteredOut,
};

#[derive(OpenApi)]
#[openapi(paths(
    register,
    login,
    guest,
    me,
    delete_me,
    refresh,
    change_password,
    logout
))]
pub(super) struct Area;

/// Makes an account.
#[utoipa::path(post, path = "/api/auth/register", security(()), request_body = RegisterBody,
    responses((status = 201, body = RegisteredOut)),
    extensions(("x-problems" = json!(["not_found", "conflict", "busy"]))))]
fn register() {}

/// Gives a token for a password.
///
/// The answer is the same for unknown names and wrong passwords. Five failures a minute for an account from an address are `rate_limited`.
#[utoipa::path(post, path = "/api/auth/login", security(()), request_body = LoginBody,
    responses((status = 200, body = GivenOut)),
    extensions(("x-problems" = json!(["unauthorized", "not_found", "busy", "backplane_unavailable"]))))]
fn login() {}

/// Gives a token to somebody without an account.
///
/// In open mode alone; with `AUTH=token` it is `not_found`.
#[utoipa::path(post, path = "/api/auth/guest", security(()), request_body = Option<GuestBody>,
    responses((status = 201, body = GivenOut)),
    extensions(("x-problems" = json!(["not_found", "conflict", "backplane_unavailable"]))))]
fn guest() {}

/// The account of the token.
#[utoipa::path(get, path = "/api/auth/me", responses((status = 200, body = AccountOut)),
    extensions(("x-problems" = json!(["not_found", "backplane_unavailable"]))))]
fn me() {}

/// Deletes the account.
///
/// All its tokens are revoked, the name is free again. Its sessions stay.
#[utoipa::path(delete, path = "/api/auth/me", responses((status = 204, description = "It is deleted.")),
    extensions(("x-problems" = json!(["not_found", "backplane_unavailable"]))))]
fn delete_me() {}

/// Gives a new token; the old one goes on until it ends.
#[utoipa::path(post, path = "/api/auth/refresh", responses((status = 200, body = GivenOut)),
    extensions(("x-problems" = json!(["not_found", "backplane_unavailable"]))))]
fn refresh() {}

/// Changes the password.
///
/// All other tokens of the account are revoked. The same failures are counted as with login.
#[utoipa::path(post, path = "/api/auth/password", request_body = PasswordBody,
    responses((status = 204, description = "It is changed.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "busy", "backplane_unavailable"]))))]
fn change_password() {}

/// Revokes a token on every node, and closes its sockets.
///
/// The one it comes with; admins and services may name another.
#[utoipa::path(post, path = "/api/auth/logout", request_body = Option<LogoutBody>,
    responses((status = 204, description = "It is revoked.")),
    extensions(("x-problems" = json!(["bad_field", "forbidden", "backplane_unavailable"]))))]
fn logout() {}
