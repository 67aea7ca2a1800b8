// Billing: limits, use and bills. Money and quantities are decimal texts.

import { path, post, put } from './http';

export interface Limits {
  cpu_millis?: number | null;
  cpu_millis_per_container?: number | null;
  memory_bytes?: number | null;
  memory_bytes_per_container?: number | null;
  storage_bytes?: number | null;
  storage_bytes_per_container?: number | null;
  containers?: number | null;
}

export interface Quota {
  holder: string;
  limits: Limits;
  source: 'set' | 'default';
  used: { cpu_millis: number; memory_bytes: number; storage_bytes: number; containers: number };
  version: number;
}

export interface UsageLine {
  project: string;
  project_name: string;
  holder: string;
  holder_name: string;
  meter: string;
  quantity: string;
}

export interface Usage {
  from: string;
  to: string;
  items: UsageLine[];
}

export interface InvoiceLine extends UsageLine {
  unit_price: string;
  amount: string;
}

export interface Invoice {
  id: string | null;
  period: string;
  state: 'open' | 'issued' | 'voided';
  currency: string;
  total: string;
  lines: InvoiceLine[];
  issued_at: string | null;
  voided_reason: string | null;
}

export interface PricePlan {
  name: string;
  currency: string;
  prices: Record<string, string>;
  version: number;
  published_at: string;
}

export const billing = {
  orgQuota: (org: string) => path('orgs', org, 'quota'),
  projectQuota: (org: string, project: string) => path('orgs', org, 'projects', project, 'quota'),
  usage: (org: string) => path('orgs', org, 'usage'),
  invoices: (org: string) => path('orgs', org, 'invoices'),
  current: (org: string) => path('orgs', org, 'invoices', 'current'),
  plans: path('price-plans'),
  publish: (body: { name: string; currency: string; prices: Record<string, string> }) => put<PricePlan>(path('price-plans'), body),
  assign: (org: string, plan: string) => put<PricePlan>(path('orgs', org, 'price-plan'), { plan }),
  voidInvoice: (org: string, period: string, reason: string) => post<Invoice>(path('orgs', org, 'invoices', period, 'void'), { reason }),
  pricePlan: (org: string) => path('orgs', org, 'price-plan'),
  setQuota: (url: string, limits: Limits) => put<Quota>(url, limits),
};
