// An SDRAM chip as its controller sees it through registers at the FPGA's pins, cycle by cycle; it keeps an account of
// every rule that is broken. Numbers of rules are those of dither.store.chip.Rule. Times are in picoseconds and are compared
// with elapsed time, not with cycles, so that a controller's own rounding is checked too.
//
// A command takes effect one cycle after it was at the port `command`: that is the register on the way out. What is read
// comes back `latency + 2` cycles after it; when the chip drives nothing, `read` is noise.

module sdram_chip #(
    parameter int WIDTH = 16,
    parameter int BANKS = 4,
    parameter int ROWS = 8192,
    parameter int COLUMNS = 512,
    parameter int PINS = 13,
    parameter longint PERIOD = 10000,
    parameter longint ROW_CYCLE = 66000,
    parameter longint ROW_ACTIVE = 44000,
    parameter longint ROW_ACTIVE_MOST = 120000000,
    parameter longint PRECHARGE = 20000,
    parameter longint ACCESS = 20000,
    parameter longint OTHER_BANK = 15000,
    parameter longint WRITE_RECOVERY = 15000,
    parameter longint REFRESH_CYCLE = 66000,
    parameter longint REFRESH_INTERVAL = 7812500,
    parameter int MOST_OWED = 9,
    parameter longint MODE = 15000,
    parameter longint POWER_UP = 200000000,
    parameter longint CLOCK_CAS2 = 10000,
    parameter longint CLOCK_CAS3 = 7500,
    parameter int FIRST_REFRESHES = 8
) (
    input  logic clk,
    input  logic [2:0] command,
    input  logic [$clog2(BANKS)-1:0] bank,
    input  logic [PINS-1:0] address,
    input  logic drive,
    input  logic [WIDTH-1:0] write,
    output logic [WIDTH-1:0] read,

    // For benches: bits of a word that are to change, as nature might.
    input  logic upset,
    input  logic [31:0] upset_address,
    input  logic [WIDTH-1:0] upset_bits,

    output logic [31:0] broken  // a bit for each rule that was broken
);
    localparam int BANK_BITS = $clog2(BANKS), ROW_BITS = $clog2(ROWS), COLUMN_BITS = $clog2(COLUMNS);
    localparam int LONGEST = 3;
    localparam longint LONG_AGO = -(64'sd1 << 40);

    localparam logic [2:0] NOTHING = 3'b000, ACTIVATE = 3'b001, READ = 3'b010, REFRESH = 3'b011, CLOSE = 3'b101,
        WRITE = 3'b110, SET_MODE = 3'b111;

    logic [WIDTH-1:0] cells [0:BANKS*ROWS*COLUMNS-1];

    // The pins, behind the registers of the FPGA.
    logic [2:0] pin_command = NOTHING;
    logic [BANK_BITS-1:0] pin_bank = 0;
    logic [PINS-1:0] pin_address = 0;
    logic pin_drive = 0;
    logic [WIDTH-1:0] pin_write = 0;

    longint now = 0;  // picoseconds
    logic [BANKS-1:0] opened = 0;
    logic [ROW_BITS-1:0] row [BANKS];
    longint opened_at [BANKS], closed_at [BANKS], written_at [BANKS], read_at [BANKS];
    longint any_opened_at = LONG_AGO, refreshed_at = LONG_AGO, mode_at = LONG_AGO;
    int refreshes = 0;
    logic all_closed_once = 0, has_mode = 0;
    int latency = 3;
    longint owed = 0;  // time that refreshes are behind, 0 at least

    logic [LONGEST:1] busy = 0;
    logic [WIDTH-1:0] pipeline [LONGEST:1];
    logic drove = 0;
    logic [WIDTH-1:0] noise = 1;

    initial begin
        broken = 0;
        read = 0;
        for (int i = 0; i < BANKS; ++i) begin
            opened_at[i] = LONG_AGO;
            closed_at[i] = LONG_AGO;
            written_at[i] = LONG_AGO;
            read_at[i] = LONG_AGO;
        end
    end

    wire driving = busy[latency];
    wire [31:0] place = 32'(pin_bank) * COLUMNS + 32'(row[pin_bank]) * BANKS * COLUMNS + 32'(pin_address[COLUMN_BITS-1:0]);

    // A function would be shorter, but a task that writes the module's own variables is as plain.
    task automatic check(input int rule, input logic good);
        if (!good) broken[rule] = 1;
    endtask

    task automatic close(input int number);
        if (opened[number]) begin
            check(4, now - opened_at[number] >= ROW_ACTIVE);
            check(5, now - opened_at[number] <= ROW_ACTIVE_MOST);
            check(9, now - written_at[number] >= WRITE_RECOVERY);
            check(15, now - read_at[number] >= PERIOD * (latency - 1));
            closed_at[number] <= now;
        end
        opened[number] <= 0;
    endtask

    always_ff @(posedge clk) begin
        now <= now + PERIOD;
        pin_command <= command;
        pin_bank <= bank;
        pin_address <= address;
        pin_drive <= drive;
        pin_write <= write;
        noise <= {noise[WIDTH-2:0], ~(noise[WIDTH-1] ^ noise[WIDTH/2])};
        read <= driving ? pipeline[latency] : noise;
        for (int i = LONGEST; i > 1; --i) begin
            busy[i] <= busy[i-1];
            pipeline[i] <= pipeline[i-1];
        end
        busy[1] <= pin_command == READ;
        pipeline[1] <= cells[place];
        drove <= driving;
        if (pin_drive) check(14, !driving && !drove);
        if (upset) cells[upset_address] = cells[upset_address] ^ upset_bits;
        if (has_mode) owed <= owed + PERIOD;

        if (pin_command != NOTHING) begin
            check(0, now >= POWER_UP);
            check(10, now - refreshed_at >= REFRESH_CYCLE);
            check(12, now - mode_at >= MODE && now - mode_at >= 2 * PERIOD);
            check(11, owed <= REFRESH_INTERVAL * MOST_OWED);
            case (pin_command)
                ACTIVATE: begin
                    check(1, has_mode);
                    check(2, !opened[pin_bank]);
                    check(3, now - opened_at[pin_bank] >= ROW_CYCLE);
                    check(6, now - closed_at[pin_bank] >= PRECHARGE);
                    check(8, now - any_opened_at >= OTHER_BANK);
                    opened[pin_bank] <= 1;
                    row[pin_bank] <= pin_address[ROW_BITS-1:0];
                    opened_at[pin_bank] <= now;
                    any_opened_at <= now;
                end
                READ, WRITE: begin
                    check(2, opened[pin_bank]);
                    check(5, now - opened_at[pin_bank] <= ROW_ACTIVE_MOST);
                    check(7, now - opened_at[pin_bank] >= ACCESS);
                    check(16, !pin_address[10]);
                    if (pin_command == WRITE) begin
                        check(14, pin_drive);
                        cells[place] = pin_write;
                        written_at[pin_bank] <= now;
                    end else read_at[pin_bank] <= now;
                end
                CLOSE: begin
                    for (int i = 0; i < BANKS; ++i) if (pin_address[10] || int'(pin_bank) == i) close(i);
                    if (pin_address[10]) all_closed_once <= 1;
                end
                REFRESH: begin
                    check(1, all_closed_once);
                    check(2, opened == 0);
                    for (int i = 0; i < BANKS; ++i) begin
                        check(3, now - opened_at[i] >= ROW_CYCLE);
                        check(6, now - closed_at[i] >= PRECHARGE);
                    end
                    refreshed_at <= now;
                    refreshes <= refreshes + 1;
                    if (has_mode) owed <= owed > REFRESH_INTERVAL ? owed - REFRESH_INTERVAL : 0;
                end
                SET_MODE: begin
                    check(1, all_closed_once && refreshes >= FIRST_REFRESHES);
                    check(2, opened == 0);
                    for (int i = 0; i < BANKS; ++i) check(6, now - closed_at[i] >= PRECHARGE);
                    check(13, pin_address[6:4] == 3 ? PERIOD >= CLOCK_CAS3 : pin_address[6:4] == 2 && PERIOD >= CLOCK_CAS2);
                    check(13, (pin_address & ~PINS'(16'h70)) == 0);
                    latency <= pin_address[6:4] == 2 ? 2 : 3;
                    has_mode <= 1;
                    mode_at <= now;
                    owed <= PERIOD;
                end
                default: check(16, 0);
            endcase
        end
    end
endmodule
