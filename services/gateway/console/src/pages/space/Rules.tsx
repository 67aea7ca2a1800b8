// Where the workloads of a space may run and what counts when a node is chosen, and a scheduler of one's own.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Form } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { get } from '../../api/http';
import { scheduler, WEIGHTS, type SpaceRules } from '../../api/scheduler';
import { Answer, LinkButton, PageHeader } from '../../parts/basics';
import { CheckField, NumberField, TextField, TextsField } from '../../parts/fields';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { lines, partOf, partText } from '../nodes/settings';
import { Expressions, expressionsOf, type Expression } from './Expressions';
import { Where } from './Where';
import { whereForm, whereOf, type WhereForm } from './fleet';

type RulesForm = { [weight in (typeof WEIGHTS)[number]]?: number | null } & {
  most_priority?: number | null;
  tolerated: string[];
  required: string;
  preferred: string;
  url: string;
  deadline_ms?: number | null;
  wait: boolean;
  prepull: boolean;
  expressions?: Expression[];
} & WhereForm;

export function formOf(rules: SpaceRules): RulesForm {
  return {
    ...rules,
    ...whereForm(rules),
    tolerated: rules.tolerated ?? [],
    required: (rules.required ?? []).map(partText).join('\n'),
    preferred: (rules.preferred ?? []).map(partText).join('\n'),
    url: rules.external?.url ?? '',
    deadline_ms: rules.external?.deadline_ms,
    wait: rules.external?.required ?? false,
    prepull: rules.prepull ?? false,
  };
}

/** What the form does not show stays as it was. */
export function rulesOf({ url, deadline_ms, wait, required, preferred, where, cluster, policy, members, expressions, ...rest }: RulesForm, was: SpaceRules): SpaceRules {
  const weights = Object.fromEntries(WEIGHTS.map((weight) => [weight, rest[weight] ?? null]));
  const external = url ? { url, ...(deadline_ms ? { deadline_ms } : {}), required: wait } : null;
  const rows = expressionsOf(expressions);
  // A platform that knows none is not told of them unless somebody writes one.
  const formulas = rows.length > 0 || 'expressions' in was ? { expressions: rows } : {};
  return { ...was, ...formulas, ...weights, ...whereOf({ where, cluster, policy, members }, was), most_priority: rest.most_priority ?? null, tolerated: rest.tolerated, required: lines(required).map(partOf), preferred: lines(preferred).map(partOf), external, prepull: rest.prepull };
}

export default function Rules() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, space] = [params.org!, params.project!, params.space!];
  const url = scheduler.rules(org, project, space);
  const key = ['rules', url];
  const query = useQuery({ queryKey: key, queryFn: () => get<SpaceRules>(url), refetchOnWindowFocus: false });
  const may = useMay('apps.admin', { org, project, space });
  const [fields] = Form.useForm<RulesForm>();
  // What the form does not show (the guard) others may have set meanwhile.
  const save = useAction((form: RulesForm) => scheduler.changeRules(url, (was) => rulesOf(form, was)), { done: t('parts.saved'), refresh: [key] });
  return (
    <>
      <PageHeader title={t('rules.title')} sub={<Link to={to.apps(org, project, space)}>{`${org}/${project}/${space}`}</Link>} actions={<LinkButton to={`${to.signs(org, project, space)}?tab=follow`}>{t('guard.title')}</LinkButton>} />
      <Answer query={query}>
        {() => (
          <Form<RulesForm> form={fields} layout="vertical" disabled={may === false} initialValues={formOf(query.data!)} onFinish={save.mutate}>
            <div className="stack">
              {may === false && <Alert type="info" showIcon title={t('guard.notAdmin')} />}
              <Card title={t('clusters.choose')}>
                <Where form={fields} org={org} several={'clusters' in query.data!} />
              </Card>
              <Card title={t('rules.conditions')}>
                <TextField name="required" label={t('rules.required')} help={t('rules.requiredHelp')} rows={3} />
                <TextField name="preferred" label={t('rules.preferred')} help={t('rules.preferredHelp')} rows={3} />
                <TextsField name="tolerated" label={t('rules.tolerated')} help={t('parts.enterEach')} />
                <NumberField name="most_priority" label={t('rules.mostPriority')} />
              </Card>
              <Card title={t('rules.expressions')}>
                <Alert type="info" showIcon title={t('rules.expressionsHelp')} />
                <Expressions />
              </Card>
              <Card title={t('rules.weights')}>
                <div className="grid-narrow">
                  {WEIGHTS.map((weight) => (
                    <NumberField key={weight} name={weight} label={t(`rules.weight.${weight}`)} max={1_000} />
                  ))}
                </div>
              </Card>
              <Card title={t('ahead.space')}>
                <CheckField name="prepull" label={t('ahead.space')} help={t('ahead.spaceHelp')} />
              </Card>
              <Card title={t('rules.external')}>
                <Alert type="info" showIcon title={t('rules.externalHelp')} />
                <TextField name="url" label={t('flow.url')} placeholder="https://planner.example.org:7000" />
                <NumberField name="deadline_ms" label={t('rules.deadline')} min={10} max={5_000} suffix={t('unit.milliseconds')} />
                <CheckField name="wait" label={t('rules.wait')} />
              </Card>
              {may && (
                <div>
                  <Button type="primary" htmlType="submit" loading={save.isPending}>
                    {t('common.save')}
                  </Button>
                </div>
              )}
            </div>
          </Form>
        )}
      </Answer>
    </>
  );
}
