// Shows what the service refused at the fields of the form that was sent.

import type { FormInstance } from 'antd';
import { useEffect, useRef } from 'react';

import { ApiError } from '../api/http';
import { placed } from './faults';

/** `error`: of the last sending. What was entered stays. One that is older than the form is not about it. */
export function useFaults<T>(form: FormInstance<T>, error: unknown): void {
  const before = useRef(error);
  useEffect(() => {
    if (error === before.current) return;
    before.current = error;
    if (!(error instanceof ApiError) || error.faults.length === 0) return;
    const { fields } = placed(error.faults, form.getFieldsError().map((one) => one.name));
    if (fields.length === 0) return;
    form.setFields(fields as unknown as Parameters<typeof form.setFields>[0]);
    form.scrollToField(fields[0]!.name as Parameters<typeof form.scrollToField>[0], { focus: true });
  }, [form, error]);
}
