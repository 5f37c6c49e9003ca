import { z } from "zod";
import type { JsonObject } from "../contract/json.ts";
import { credentialsSchema } from "./credentials-schema.ts";
import { settingsSchema } from "./settings.ts";

/** The JSON Schema of `callgate.yaml`, for editors: `schema/callgate.schema.json`. */
export function settingsJsonSchema(): JsonObject {
  return z.toJSONSchema(settingsSchema, { io: "input" }) as JsonObject;
}

/** The JSON Schema of `credentials.yaml`, for editors: `schema/credentials.schema.json`. */
export function credentialsJsonSchema(): JsonObject {
  return z.toJSONSchema(credentialsSchema, { io: "input" }) as JsonObject;
}
