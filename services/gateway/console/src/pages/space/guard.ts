// What is watched for in a space, as the form has it.

import { SIGN_ACTIONS, type Guard, type SignAction } from '../../api/signs';
import { lines } from '../nodes/settings';

export interface GuardForm {
  action: SignAction;
  closed: boolean;
  /** One a line: a network, and a port behind it if only that. */
  egress: string;
  programs: string;
}

const isAction = (text: string | undefined): text is SignAction => SIGN_ACTIONS.some((one) => one === text);

export function guardForm(guard: Guard | null | undefined): GuardForm {
  const action = guard?.action;
  return {
    action: isAction(action) ? action : 'report',
    closed: guard?.closed ?? false,
    egress: (guard?.egress ?? []).map(({ network, port }) => (port ? `${network} ${port}` : network)).join('\n'),
    programs: (guard?.programs ?? []).join('\n'),
  };
}

/** What can be reached has a meaning only where the rest cannot; it is kept only then. */
export function guardOf(form: GuardForm): Guard {
  const egress = lines(form.egress).map((line) => {
    const [network = '', port] = line.split(/\s+/);
    return port === undefined ? { network } : { network, port: Number(port) };
  });
  return { action: form.action, closed: form.closed, egress: form.closed ? egress : [], programs: lines(form.programs) };
}

/** `10.0.0.0/8`, `192.0.2.10 5432` */
export const isEgress = (text: string | undefined): boolean => lines(text).every((line) => /^\S+(\s+\d{1,5})?$/.test(line));

/** Absolute, as the container sees them. */
export const arePrograms = (text: string | undefined): boolean => lines(text).every((line) => line.startsWith('/'));
