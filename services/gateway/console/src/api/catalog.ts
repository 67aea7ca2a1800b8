// Catalogue: what is offered, what has been made of it, and who is bound to it.

import { path, post, remove } from './http';

export interface Plan {
  name: string;
  description?: string;
  parameters?: unknown;
  free?: boolean;
}

export interface Offering {
  name: string;
  title?: string;
  description?: string;
  tags?: string[];
  plans: Plan[];
}

export interface ServiceBinding {
  name: string;
  id?: string;
  created_at?: string;
}

export interface ServiceInstance {
  id: string;
  name: string;
  offering: string;
  plan: string;
  state: string;
  reason?: string | null;
  parameters?: unknown;
  bindings?: ServiceBinding[];
  created_at?: string;
}

export const catalog = {
  offerings: path('offerings'),
  instances: (org: string, project: string, space: string) => path('orgs', org, 'projects', project, 'spaces', space, 'instances'),
  create: (instances: string, body: { offering: string; plan: string; name: string; parameters: unknown }) => post<ServiceInstance>(instances, body),
  remove: (instances: string, name: string) => remove(`${instances}/${encodeURIComponent(name)}`),
  bind: (instances: string, name: string, binding: string) =>
    post<{ credentials?: Record<string, unknown> } & Record<string, unknown>>(`${instances}/${encodeURIComponent(name)}/bindings`, { name: binding }),
  unbind: (instances: string, name: string, binding: string) => remove(`${instances}/${encodeURIComponent(name)}/bindings/${encodeURIComponent(binding)}`),
};
