import { failure } from "../../errors.js";
import { decoded, malformed, quoted } from "./errors.js";
import { ConfigRecord, type ConfigRecordValue } from "./proto/flower.js";

/**
 * A value of a record. As in Python there are two kinds of numbers: a bigint is an int, a number is a float. What
 * arrives is told apart in the same way.
 */
export type Scalar = number | bigint | boolean | string | Uint8Array;
export type Value = Scalar | number[] | bigint[] | boolean[] | string[] | Uint8Array[];
export type Values = Record<string, Value>;

/** A MetricRecord has numbers alone, a ConfigRecord any value. */
export type RecordKind = "metrics" | "config";

type Field = NonNullable<ConfigRecordValue["value"]>;

const INT64_MAX = 2n ** 63n - 1n;

/** The body of a MetricRecord or ConfigRecord. */
export function valuesBytes(kind: RecordKind, values: Values): Uint8Array<ArrayBuffer> {
  const items = Object.entries(values).map(([key, value]) => ({ key, value: { value: fieldOf(kind, key, value) } }));
  return ConfigRecord.encode({ items }).finish();
}

function fieldOf(kind: RecordKind, key: string, value: Value): Field {
  const field = Array.isArray(value) ? listOf(kind, value) : scalarOf(value);
  if (field === undefined || (kind === "metrics" && !IS_METRIC.test(field.$case))) {
    throw failure("internal", `"${key}" of a record of ${kind} has a value that Flower has no type for`);
  }
  return field;
}

const IS_METRIC = /^(double|sint|uint)/;

function scalarOf(value: Scalar): Field | undefined {
  switch (typeof value) {
    case "number":
      return { $case: "double", value };
    case "bigint":
      return value > INT64_MAX ? { $case: "uint64", value } : { $case: "sint64", value };
    case "boolean":
      return { $case: "bool", value };
    case "string":
      return { $case: "string", value };
    default:
      return value instanceof Uint8Array ? { $case: "bytes", value } : undefined;
  }
}

/** The field of a list, whose values are all of one type. An empty list has the type that Flower gives it. */
function listOf(kind: RecordKind, vals: readonly Scalar[]): Field | undefined {
  const types = new Set(vals.map((value) => scalarOf(value)?.$case.replace(/^[su]int64$/, "int")));
  if (types.size > 1) return undefined;
  switch ([...types][0] ?? (kind === "metrics" ? "double" : "bool")) {
    case "double":
      return { $case: "double_list", value: { vals: vals as number[] } };
    case "int":
      return { $case: vals.some((value) => (value as bigint) > INT64_MAX) ? "uint_list" : "sint_list", value: { vals: vals as bigint[] } };
    case "bool":
      return { $case: "bool_list", value: { vals: vals as boolean[] } };
    case "string":
      return { $case: "string_list", value: { vals: vals as string[] } };
    case "bytes":
      return { $case: "bytes_list", value: { vals: vals as Uint8Array[] } };
    default:
      return undefined;
  }
}

/** The values in the body of a MetricRecord or ConfigRecord. Of one key's several values the last one holds, as in Flower. */
export function readValues(kind: RecordKind, body: Uint8Array): Values {
  const { items } = decoded(`a record of ${kind}`, () => ConfigRecord.decode(body));
  // No prototype, so that no name from outside is anything but a name.
  const values: Values = Object.create(null);
  for (const { key, value } of items) {
    const field = value?.value;
    if (field === undefined) throw malformed(`${quoted(key)} of a record of ${kind} has no value that is known`);
    if (kind === "metrics" && !IS_METRIC.test(field.$case)) throw malformed(`metric ${quoted(key)} is no number`);
    values[key] = typeof field.value === "object" && "vals" in field.value ? field.value.vals : (field.value as Scalar);
  }
  return values;
}
