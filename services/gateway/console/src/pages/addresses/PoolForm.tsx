// Making a pool of public addresses, or changing one as a whole.

import { Form, Input } from 'antd';
import { useTranslation } from 'react-i18next';

import { identity, type Org } from '../../api/identity';
import { addressesOf, isDeleted, pools, type Pool } from '../../api/pools';
import { FormDialog } from '../../parts/dialogs';
import { ChoiceField, NameField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

interface Values {
  name?: string;
  addresses: string;
  orgs?: string[];
}

export function PoolForm({ of, onClose }: { of: Pool | 'new' | null; onClose: () => void }) {
  const { t } = useTranslation();
  const before = of === 'new' ? null : of;
  const orgs = useList<Org>(['orgs'], identity.orgs, { enabled: of !== null });
  const save = useAction((form: Values) => pools.set(before?.name ?? form.name!, { addresses: addressesOf(form.addresses), orgs: form.orgs ?? [] }), { done: t('parts.saved'), refresh: [['address-pools']], onDone: onClose });
  // What the pool has stays to be chosen: also organisations that are deleted.
  const names = [...new Set([...orgs.items.map((one) => one.name), ...(before?.orgs ?? [])])].toSorted();
  return (
    <FormDialog<Values>
      open={of !== null}
      title={before ? t('pools.changeOf', { name: before.name }) : t('pools.add')}
      ok={t('common.save')}
      pending={save.isPending} error={save.error}
      initial={{ addresses: before?.addresses.join('\n'), orgs: before?.orgs ?? [] }}
      onClose={onClose}
      onSubmit={save.mutate}
    >
      {!before && <NameField />}
      <Form.Item name="addresses" label={t('pools.addresses')} extra={t('pools.addressesHelp')} rules={[{ validator: async (_, text?: string) => (addressesOf(text).length > 0 ? undefined : Promise.reject(new Error(t('form.required')))) }]}>
        <Input.TextArea rows={4} className="mono" placeholder={'203.0.113.0/28\n198.51.100.10-198.51.100.20'} />
      </Form.Item>
      <ChoiceField name="orgs" many label={t('pools.orgs')} help={t('pools.orgsHelp')} options={names.map((value) => ({ value, label: isDeleted(value) ? t('pools.deletedOrg', { id: value.slice(-7) }) : value }))} />
    </FormDialog>
  );
}
