// What can be said about an instance of an offering, as fields: from the JSON schema of the plan's parameters.

export interface OfferedField {
  name: string;
  label: string;
  help: string;
  kind: 'text' | 'whole' | 'choice' | 'flag';
  required: boolean;
  initial?: string | number | boolean;
  min?: number;
  max?: number;
  options: string[];
}

type Schema = { [key: string]: unknown };

const object = (value: unknown): Schema => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Schema) : {});
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const number = (value: unknown) => (typeof value === 'number' ? value : undefined);

/** Nothing where the schema asks for what no field here can say: it is written as JSON then. */
export function fieldsOf(parameters: unknown): OfferedField[] | null {
  const schema = object(parameters);
  const required = list(schema.required);
  const fields: OfferedField[] = [];
  for (const [name, value] of Object.entries(object(schema.properties))) {
    const of = object(value);
    const options = list(of.enum).map(String);
    const kind = options.length > 0 ? 'choice' : of.type === 'string' ? 'text' : of.type === 'integer' ? 'whole' : of.type === 'boolean' ? 'flag' : null;
    if (kind === null) return null;
    const initial = ['string', 'number', 'boolean'].includes(typeof of.default) ? (of.default as string | number | boolean) : undefined;
    fields.push({ name, label: String(of.title ?? name), help: String(of.description ?? ''), kind, required: required.includes(name) && initial === undefined, initial, min: number(of.minimum), max: number(of.maximum), options });
  }
  return fields;
}

/** What was said: what is as the offering has it anyway is left out. */
export function saidOf(fields: OfferedField[], values: Record<string, unknown>): Record<string, unknown> {
  const said = fields.map((field): [string, unknown] => {
    const value = values[field.name];
    return [field.name, typeof value === 'string' ? value.trim() : value];
  });
  return Object.fromEntries(said.filter(([name, value]) => value !== undefined && value !== null && value !== '' && value !== fields.find((field) => field.name === name)!.initial));
}

/** Entries of a secret: a name in each, and a text. */
export function entriesOf(credentials: Record<string, unknown>): Record<string, string> {
  const texts = Object.entries(credentials).map(([key, value]): [string, string] => [key, typeof value === 'string' ? value : JSON.stringify(value)]);
  return Object.fromEntries(texts.filter(([, value]) => value !== undefined && value !== 'null'));
}
