// As bench.sv, for a board that has a memory chip.

module bench #(
    parameter int WIDTH = 16,
    parameter int BANKS = 4,
    parameter int ROWS = 8192,
    parameter int COLUMNS = 512,
    parameter int PINS = 13,
    parameter longint PERIOD = 10000,
    parameter longint ROW_CYCLE = 0,
    parameter longint ROW_ACTIVE = 0,
    parameter longint ROW_ACTIVE_MOST = 0,
    parameter longint PRECHARGE = 0,
    parameter longint ACCESS = 0,
    parameter longint OTHER_BANK = 0,
    parameter longint WRITE_RECOVERY = 0,
    parameter longint REFRESH_CYCLE = 0,
    parameter longint REFRESH_INTERVAL = 0,
    parameter int MOST_OWED = 0,
    parameter longint MODE = 0,
    parameter longint POWER_UP = 0,
    parameter longint CLOCK_CAS2 = 0,
    parameter longint CLOCK_CAS3 = 0,
    parameter int FIRST_REFRESHES = 0
) (
    input  logic clk,
    input  logic rst,
    input  logic rx,
    output logic tx,
    output logic busy,
    output logic error,
    output logic session,
    input  logic upset,
    input  logic [31:0] upset_address,
    input  logic [31:0] upset_bits,
    output logic [31:0] broken
);
    logic reset = 1, line = 1, memory__drive;
    logic [WIDTH-1:0] memory__write, memory__read;
    logic [2:0] memory__command;
    logic [$clog2(BANKS)-1:0] memory__bank;
    logic [PINS-1:0] memory__address;

    always_ff @(posedge clk) begin
        reset <= rst;
        line  <= rx;
    end

    board board (
        .clk(clk),
        .rst(reset),
        .reset(1'b0),
        .rx(line),
        .tx(tx),
        .busy(busy),
        .error(error),
        .session(session),
        .memory__command(memory__command),
        .memory__bank(memory__bank),
        .memory__address(memory__address),
        .memory__drive(memory__drive),
        .memory__write(memory__write),
        .memory__read(memory__read)
    );

    sdram_chip #(
        .WIDTH(WIDTH), .BANKS(BANKS), .ROWS(ROWS), .COLUMNS(COLUMNS), .PINS(PINS), .PERIOD(PERIOD),
        .ROW_CYCLE(ROW_CYCLE), .ROW_ACTIVE(ROW_ACTIVE), .ROW_ACTIVE_MOST(ROW_ACTIVE_MOST), .PRECHARGE(PRECHARGE),
        .ACCESS(ACCESS), .OTHER_BANK(OTHER_BANK), .WRITE_RECOVERY(WRITE_RECOVERY), .REFRESH_CYCLE(REFRESH_CYCLE),
        .REFRESH_INTERVAL(REFRESH_INTERVAL), .MOST_OWED(MOST_OWED), .MODE(MODE), .POWER_UP(POWER_UP),
        .CLOCK_CAS2(CLOCK_CAS2), .CLOCK_CAS3(CLOCK_CAS3), .FIRST_REFRESHES(FIRST_REFRESHES)
    ) chip (
        .clk(clk), .command(memory__command), .bank(memory__bank), .address(memory__address), .drive(memory__drive),
        .write(memory__write), .read(memory__read), .upset(upset), .upset_address(upset_address),
        .upset_bits(upset_bits[WIDTH-1:0]), .broken(broken)
    );
endmodule
