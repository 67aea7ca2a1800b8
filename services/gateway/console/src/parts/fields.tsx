// Fields of forms.

import { Checkbox, Form, Input, InputNumber, Select, type FormRule } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type Account } from '../api/people';
import { nameRules } from './forms';
import { useList } from './query';

interface Common {
  name: string;
  label: string;
  help?: string;
  required?: boolean;
}

function useRules(required?: boolean): FormRule[] {
  const { t } = useTranslation();
  return required ? [{ required: true, message: t('form.required') }] : [];
}

const FREE: string[] = [];

/** The unchangeable name of a new thing; `taken` are names of things that it would change instead. */
export function NameField({ label, taken = FREE }: { label?: string; taken?: string[] }) {
  const { t } = useTranslation();
  const free: FormRule = { validator: (_, value?: string) => (value !== undefined && taken.includes(value) ? Promise.reject(new Error(t('form.taken'))) : Promise.resolve()) };
  return (
    <Form.Item name="name" label={label ?? t('common.name')} rules={[...nameRules(t), free]} extra={t('form.nameHelp')}>
      <Input autoFocus maxLength={63} />
    </Form.Item>
  );
}

export function TextField({ name, label, help, required, rows, secret, max = 500, focus, placeholder }: Common & { rows?: number; secret?: boolean; max?: number; focus?: boolean; placeholder?: string }) {
  const rules = useRules(required);
  return (
    <Form.Item name={name} label={label} extra={help} rules={rules}>
      {rows ? <Input.TextArea rows={rows} placeholder={placeholder} /> : secret ? <Input.Password autoComplete="new-password" /> : <Input maxLength={max} autoFocus={focus} placeholder={placeholder} />}
    </Form.Item>
  );
}

export function NumberField({ name, label, help, required, min = 0, max, suffix }: Common & { min?: number; max?: number; suffix?: string }) {
  const rules = useRules(required);
  return (
    <Form.Item name={name} label={label} extra={help} rules={rules}>
      <InputNumber min={min} max={max} suffix={suffix} precision={0} className="full" />
    </Form.Item>
  );
}

export interface Choice {
  value: string;
  label: string;
}

export function ChoiceField({ name, label, help, required, many, free, options }: Common & { many?: boolean; free?: boolean; options: Choice[] }) {
  const rules = useRules(required);
  return (
    <Form.Item name={name} label={label} extra={help} rules={rules}>
      <Select allowClear={!required} mode={free ? 'tags' : many ? 'multiple' : undefined} showSearch={{ optionFilterProp: 'label' }} options={options} />
    </Form.Item>
  );
}

/** A list of texts, each entered with Enter. */
export function TextsField(props: Common) {
  const rules = useRules(props.required);
  return (
    <Form.Item name={props.name} label={props.label} extra={props.help} rules={rules}>
      <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[',', ' ', '\n']} />
    </Form.Item>
  );
}

export function CheckField({ name, label, help }: Common) {
  return (
    <Form.Item name={name} valuePropName="checked" extra={help}>
      <Checkbox>{label}</Checkbox>
    </Form.Item>
  );
}

interface UserSelectProps {
  /** Given and called by the form it is in. */
  value?: string;
  id?: string;
  onChange?: (value: string) => void;
  /** Only members of this organisation. */
  org?: string;
  /** Put before the id: "user:" makes a subject. */
  prefix?: string;
  /** Where no label stands beside it. */
  label?: string;
  placeholder?: string;
  more?: Choice[];
}

const NONE: Choice[] = [];

/** Finds a person by the beginning of a name or by an address. */
export function UserSelect({ value, id, onChange, org, prefix = '', label, placeholder = label, more = NONE }: UserSelectProps) {
  const { t } = useTranslation();
  const [q, setQ] = useState('');
  const query = useList<Account>(['user-choice', org ?? ''], people.users, { query: { q, org, limit: 20 } });
  const found = query.items.map((user) => ({ value: `${prefix}${user.id}`, label: user.display_name && user.display_name !== user.username ? `${user.username} (${user.display_name})` : user.username }));
  const others = more.filter((one) => one.label.toLowerCase().includes(q.toLowerCase()));
  return (
    <Select
      id={id}
      aria-label={label}
      placeholder={placeholder}
      allowClear
      showSearch={{ filterOption: false, onSearch: setQ }}
      loading={query.isFetching}
      value={value}
      onChange={onChange}
      notFoundContent={t('people.none')}
      style={{ minWidth: 220 }}
      options={[...found, ...others]}
    />
  );
}
