import { onlineManager } from '@tanstack/react-query';
import { afterEach, describe, expect, it } from 'vitest';

import { ApiError } from '../src/api/http';
import { again, newClient } from '../src/parts/client';

afterEach(() => onlineManager.setOnline(true));

describe('questions and changes', () => {
  it('are sent, or fail, also where the browser believes that there is no network', async () => {
    onlineManager.setOnline(false);
    const client = newClient();
    expect(await client.fetchQuery({ queryKey: ['x'], queryFn: async () => 'answer' })).toBe('answer');
    const change = client.getMutationCache().build(client, { mutationFn: async () => Promise.reject(new ApiError(0, 'console.unreachable', '')) });
    await expect(change.execute(undefined)).rejects.toThrow(ApiError);
    expect(change.state.isPaused).toBe(false);
    client.clear();
  });

  it('that are refused are not asked again', () => {
    expect([400, 401, 403, 404, 409, 429].some((status) => again(0, new ApiError(status, 'x', '')))).toBe(false);
    expect([0, 502, 503].every((status) => again(1, new ApiError(status, 'x', '')))).toBe(true);
    expect(again(2, new ApiError(503, 'x', ''))).toBe(false);
  });
});
