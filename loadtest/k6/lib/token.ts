// Tokens as an issuer makes them: HS256 with the secret of the nodes.

import { hmac } from "k6/crypto";
import { b64encode } from "k6/encoding";

const LIFE_SECONDS = 3600;

export function token(user: string, claims: object = {}): string {
  const secret = __ENV.JWT_SECRET;
  if (!secret) throw new Error("JWT_SECRET must be that of the nodes");
  const part = (value: object) => b64encode(JSON.stringify(value), "rawurl");
  const exp = Math.floor(Date.now() / 1000) + LIFE_SECONDS;
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp, ...claims })}`;
  return `${signed}.${hmac("sha256", secret.split(",")[0]!, signed, "base64rawurl")}`;
}
