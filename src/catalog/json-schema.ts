import { z } from "zod";
import type { JsonObject } from "../contract/json.ts";
import { manifestSchema } from "./manifest-schema.ts";

/** The JSON Schema of a tool manifest, for editors: `schema/tool.schema.json`. */
export function manifestJsonSchema(): JsonObject {
  return z.toJSONSchema(manifestSchema, { io: "input" }) as JsonObject;
}
