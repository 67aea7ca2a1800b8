// Where a space's workloads run, as the form has it.

import { FLEET_POLICIES, type FleetPolicy } from '../../api/clusters';
import type { SpaceRules } from '../../api/scheduler';

export type Where = 'nodes' | 'cluster' | 'several';

export interface MemberForm {
  cluster: string;
  weight?: number | null;
  /** JSON; empty: nothing is other there. */
  overrides?: string;
}

export interface WhereForm {
  where: Where;
  cluster?: string | null;
  policy?: FleetPolicy;
  members?: MemberForm[];
}

export function whereForm(rules: SpaceRules): WhereForm {
  const members = (rules.clusters?.clusters ?? []).map(({ cluster, weight, overrides }) => ({ cluster, weight: weight ?? 1, overrides: overrides && Object.keys(overrides).length > 0 ? JSON.stringify(overrides, null, 2) : '' }));
  return { where: rules.clusters ? 'several' : rules.cluster ? 'cluster' : 'nodes', cluster: rules.cluster ?? '', policy: rules.clusters?.policy ?? FLEET_POLICIES[0], members };
}

/** `was` says whether the platform knows of several clusters at all. */
export function whereOf({ where, cluster, policy, members }: WhereForm, was: SpaceRules): Pick<SpaceRules, 'cluster' | 'clusters'> {
  const one = where === 'cluster' ? cluster?.trim() || null : null;
  if (!('clusters' in was)) return { cluster: one };
  const all = (members ?? []).map(({ cluster: name, weight, overrides }) => ({ cluster: name, weight: weight ?? 1, ...(overrides?.trim() ? { overrides: JSON.parse(overrides) as Record<string, unknown> } : {}) }));
  return { cluster: one, clusters: where === 'several' ? { policy, clusters: all } : null };
}

export function isObject(text?: string): boolean {
  if (!text?.trim()) return true;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
