// Reading an OpenAPI 3.1 document as far as the API page shows it.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  items?: Schema;
  enum?: unknown[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  description?: string;
}

interface Content {
  content?: Record<string, { schema?: Schema }>;
}

export interface Operation {
  method: string;
  path: string;
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: Schema }[];
  requestBody?: Content;
  responses?: Record<string, Content & { description?: string }>;
}

export interface Document {
  paths: Record<string, Record<string, Omit<Operation, 'method' | 'path'>>>;
  components?: { schemas?: Record<string, Schema> };
  'x-gantry-missing'?: string[];
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'head', 'options'];

/** The operations that match `text`, by their first tag. */
export function grouped(document: Document, text: string): { tag: string; operations: Operation[] }[] {
  const wanted = text.trim().toLowerCase();
  const groups = new Map<string, Operation[]>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const given = item[method];
      if (!given) continue;
      const operation = { ...given, method, path };
      if (wanted !== '' && !`${method} ${path} ${given.summary ?? ''} ${given.description ?? ''}`.toLowerCase().includes(wanted)) continue;
      const tag = given.tags?.[0] ?? '';
      groups.set(tag, [...(groups.get(tag) ?? []), operation]);
    }
  }
  return [...groups].map(([tag, operations]) => ({ tag, operations }));
}

/** A short name of a schema: `User`, `string[]`, `integer | null`. */
export function typeName(schema?: Schema): string {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop()!;
  if (schema.enum) return schema.enum.map(String).join(' | ');
  const several = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (several) return several.map(typeName).join(' | ');
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? 'any'];
  return types.map((type) => (type === 'array' ? `${typeName(schema.items)}[]` : type === 'object' && schema.properties ? 'object' : type)).join(' | ');
}
