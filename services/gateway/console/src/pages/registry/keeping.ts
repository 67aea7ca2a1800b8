// Retention rules as the form has them and as the API has them.

import type { Keep, Retention } from '../../api/registry';

export const KINDS = ['newest', 'pushed_within_days', 'pulled_within_days', 'all'] as const;
type Kind = (typeof KINDS)[number];

export interface RuleForm {
  every_hours?: number | null;
  untagged_days?: number | null;
  rules: { repositories?: string; tags?: string; label?: string; kind: Kind; amount?: number }[];
}

function keepOf(kind: Kind, amount = 1): Keep {
  switch (kind) {
    case 'all':
      return 'all';
    case 'newest':
      return { newest: amount };
    case 'pushed_within_days':
      return { pushed_within_days: amount };
    case 'pulled_within_days':
      return { pulled_within_days: amount };
  }
}

export function retentionOf({ every_hours, untagged_days, rules }: RuleForm): Retention {
  return {
    ...(every_hours ? { every_hours } : {}),
    ...(untagged_days ? { untagged_days } : {}),
    rules: (rules ?? []).map((rule) => ({ repositories: rule.repositories || '*', tags: rule.tags || '*', keep: keepOf(rule.kind, rule.amount), ...(rule.label ? { label: rule.label } : {}) })),
  };
}

export function formOf({ every_hours, untagged_days, rules }: Retention): RuleForm {
  return {
    every_hours,
    untagged_days,
    rules: rules.map((rule) => {
      const [kind, amount] = rule.keep === 'all' ? (['all', undefined] as const) : (Object.entries(rule.keep)[0] as [Kind, number]);
      return { repositories: rule.repositories, tags: rule.tags, label: rule.label ?? undefined, kind, amount };
    }),
  };
}
