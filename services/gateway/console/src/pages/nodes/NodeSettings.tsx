// What operators say of a node beside what its agent knows: labels, taints, room.

import { SettingOutlined } from '@ant-design/icons';
import { Button } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import type { Tagged } from '../../api/http';
import { scheduler, type NodeItem, type NodeSettings } from '../../api/scheduler';
import { FormDialog } from '../../parts/dialogs';
import { NumberField, TextField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { formOf, settingsOf, type SettingsForm } from './settings';

export function NodeSettingsButton({ node }: { node: NodeItem }) {
  const { t } = useTranslation();
  /** As they are when the dialog is opened, with the version that they are changed from. */
  const [read, setRead] = useState<Tagged<NodeSettings> | null>(null);
  const was = read?.value ?? {};
  const begin = useAction(() => scheduler.nodeSettings(node.name), { onDone: (settings) => setRead(settings) });
  const save = useAction((form: SettingsForm) => scheduler.setNode(node.name, settingsOf(form, was), read?.etag ?? null), { done: t('parts.saved'), refresh: [['nodes']], onDone: () => setRead(null) });
  return (
    <>
      <Button size="small" icon={<SettingOutlined />} loading={begin.isPending} onClick={() => begin.mutate()}>
        {t('nodes.settings')}
      </Button>
      <FormDialog<SettingsForm> open={read !== null} wide title={t('nodes.settingsOf', { name: node.name })} ok={t('common.save')} pending={save.isPending} error={save.error} initial={formOf(was)} onClose={() => setRead(null)} onSubmit={save.mutate}>
        <TextField name="labels" label={t('nodes.labels')} help={t('nodes.labelsHelp')} rows={3} />
        <TextField name="taints" label={t('nodes.taints')} help={t('nodes.taintsHelp')} rows={3} />
        <div className="grid">
          <NumberField name="overcommit_cpu_percent" label={t('nodes.overcommitCpu')} min={1} max={10_000} suffix="%" />
          <NumberField name="overcommit_memory_percent" label={t('nodes.overcommitMemory')} min={1} max={1_000} suffix="%" />
          <NumberField name="system_cpu_millis" label={t('nodes.systemCpu')} />
          <NumberField name="system_memory_mib" label={t('nodes.systemMemory')} suffix="MiB" />
          <NumberField name="max_instances" label={t('nodes.maxInstances')} />
          <NumberField name="bandwidth_kbps" label={t('nodes.bandwidth')} suffix="kbit/s" />
        </div>
        <TextField name="reserved" label={t('nodes.reserved')} help={t('nodes.reservedHelp')} rows={2} />
      </FormDialog>
    </>
  );
}
