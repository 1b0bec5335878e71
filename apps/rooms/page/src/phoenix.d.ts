// What this page uses of the npm package phoenix 1.8, which brings no types of its own.

declare module "phoenix" {
  interface Push {
    receive(status: "ok" | "error" | "timeout", callback: (response: any) => void): Push
  }

  class Channel {
    readonly topic: string
    join(): Push
    leave(): Push
    on(event: string, callback: (payload: any) => void): number
    onError(callback: (reason?: unknown) => void): number
    push(event: string, payload: object, timeout?: number): Push
  }

  class Socket {
    constructor(url: string, options: {
      /** Called for each connection. */
      authToken: () => string
      reconnectAfterMs?: (tries: number) => number
      rejoinAfterMs?: (tries: number) => number
      heartbeatIntervalMs?: number
    })
    connect(): void
    disconnect(callback?: () => void): void
    isConnected(): boolean
    channel(topic: string, params?: object | (() => object)): Channel
    onOpen(callback: () => void): string
    onClose(callback: (event: CloseEvent) => void): string
    onError(callback: (error: unknown) => void): string
  }

  class Presence {
    constructor(channel: Channel)
    onSync(callback: () => void): void
    list<T>(chooser: (key: string, presence: { metas: any[] }) => T): T[]
  }
}
