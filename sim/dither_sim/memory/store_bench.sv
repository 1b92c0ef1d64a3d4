// A sample store with its chip.

module bench #(
    parameter int BEAT = 96,
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
    input  logic reset,
    input  logic give,
    input  logic [639:0] given,
    output logic taken,
    output logic offer,
    output logic [639:0] offered,
    input  logic willing,
    input  logic [15:0] host_addr,
    input  logic host_write,
    input  logic [31:0] host_wdata,
    output logic [31:0] host_rdata,
    output logic holds,
    output logic damaged,
    input  logic upset,
    input  logic [31:0] upset_address,
    input  logic [31:0] upset_bits,
    output logic [31:0] broken
);
    logic input__valid, input__ready, output__valid, output__ready, pins__drive;
    logic [BEAT-1:0] input__payload, output__payload;
    logic [WIDTH-1:0] pins__write, pins__read;
    logic [2:0] pins__command;
    logic [$clog2(BANKS)-1:0] pins__bank;
    logic [PINS-1:0] pins__address;

    assign input__valid = give;
    assign input__payload = given[BEAT-1:0];
    assign taken = input__ready;
    assign offer = output__valid;
    assign offered = 640'(output__payload);
    assign output__ready = willing;

    store store (.*);

    sdram_chip #(
        .WIDTH(WIDTH), .BANKS(BANKS), .ROWS(ROWS), .COLUMNS(COLUMNS), .PINS(PINS), .PERIOD(PERIOD),
        .ROW_CYCLE(ROW_CYCLE), .ROW_ACTIVE(ROW_ACTIVE), .ROW_ACTIVE_MOST(ROW_ACTIVE_MOST), .PRECHARGE(PRECHARGE),
        .ACCESS(ACCESS), .OTHER_BANK(OTHER_BANK), .WRITE_RECOVERY(WRITE_RECOVERY), .REFRESH_CYCLE(REFRESH_CYCLE),
        .REFRESH_INTERVAL(REFRESH_INTERVAL), .MOST_OWED(MOST_OWED), .MODE(MODE), .POWER_UP(POWER_UP),
        .CLOCK_CAS2(CLOCK_CAS2), .CLOCK_CAS3(CLOCK_CAS3), .FIRST_REFRESHES(FIRST_REFRESHES)
    ) chip (
        .clk(clk), .command(pins__command), .bank(pins__bank), .address(pins__address), .drive(pins__drive),
        .write(pins__write), .read(pins__read), .upset(upset), .upset_address(upset_address),
        .upset_bits(upset_bits[WIDTH-1:0]), .broken(broken)
    );
endmodule
