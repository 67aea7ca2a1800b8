// Making an alert rule, or changing one as a whole.

import { Form, InputNumber } from 'antd';
import { useTranslation } from 'react-i18next';

import { alerts, COMPARISONS, FIGURES, SEVERITIES, type AlertRule, type AlertSettings } from '../../api/alerts';
import { scheduler, type AppItem } from '../../api/scheduler';
import { FormDialog } from '../../parts/dialogs';
import { ChoiceField, NameField, NumberField, TextField } from '../../parts/fields';
import { useAction, useList } from '../../parts/query';

interface Values extends AlertSettings {
  name?: string;
}

/** `taken`: names of the rules that there are. */
export function AlertRuleForm({ place, of, taken, onClose }: { place: [string, string, string]; of: AlertRule | 'new' | null; taken: string[]; onClose: () => void }) {
  const { t } = useTranslation();
  const before = of === 'new' ? null : of;
  const rules = alerts.rules(...place);
  const apps = useList<AppItem>(['apps', ...place, 'names'], scheduler.apps(...place), { query: { limit: 500 }, enabled: of !== null });
  const save = useAction(
    ({ name, workload, for_seconds, ...settings }: Values) => alerts.set(rules, before?.name ?? name!, { ...settings, workload: workload || null, for_seconds: for_seconds ?? 0 }, before),
    { done: t('parts.saved'), refresh: [['alert-rules', rules]], onDone: onClose },
  );
  // What a rule watches stays to be chosen, also when it is deleted.
  const names = [...new Set([...apps.items.map((one) => one.name), ...(before ? [before.app] : [])])].toSorted();
  return (
    <FormDialog<Values>
      open={of !== null}
      title={before ? t('alerts.changeOf', { name: before.name }) : t('alerts.add')}
      ok={t('common.save')}
      pending={save.isPending} error={save.error}
      initial={
        before
          ? { app: before.app, workload: before.workload, figure: before.figure, comparison: before.comparison, threshold: before.threshold, for_seconds: before.for_seconds, severity: before.severity }
          : { figure: 'cpu', comparison: 'above', for_seconds: 300, severity: 'warning' }
      }
      onClose={onClose}
      onSubmit={save.mutate}
    >
      {!before && <NameField taken={taken} />}
      <ChoiceField name="app" label={t('deploy.app')} required options={names.map((value) => ({ value, label: value }))} />
      <TextField name="workload" label={t('instance.workload')} help={t('alerts.workloadHelp')} max={63} />
      <ChoiceField name="figure" label={t('alerts.figure')} required options={FIGURES.map((value) => ({ value, label: t(`alerts.figures.${value}`) }))} />
      <ChoiceField name="comparison" label={t('alerts.comparison')} required options={COMPARISONS.map((value) => ({ value, label: t(`alerts.comparisons.${value}`) }))} />
      <Form.Item name="threshold" label={t('alerts.threshold')} extra={t('alerts.thresholdHelp')} rules={[{ required: true, message: t('form.required') }]}>
        <InputNumber min={0} max={1e15} className="full" />
      </Form.Item>
      <NumberField name="for_seconds" label={t('alerts.for')} help={t('alerts.forHelp')} max={86_400} />
      <ChoiceField name="severity" label={t('alerts.severity')} required options={SEVERITIES.map((value) => ({ value, label: t(`alerts.severities.${value}`) }))} />
    </FormDialog>
  );
}
