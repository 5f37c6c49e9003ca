import { z } from "zod";
import type { JsonObject } from "../contract/json.ts";
import { settingsSchema } from "./settings.ts";

/** The JSON Schema of `callgate.yaml`, for editors: `schema/callgate.schema.json`. */
export function settingsJsonSchema(): JsonObject {
  return z.toJSONSchema(settingsSchema, { io: "input" }) as JsonObject;
}
